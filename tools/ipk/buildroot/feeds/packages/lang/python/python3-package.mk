# A stand-in for the packages feed's python3-package.mk: pure Python only.

PYTHON3_VERSION_MAJOR:=$(word 1,$(subst ., ,$(PYTHON3_VERSION)))
PYTHON3_VERSION_MINOR:=$(word 2,$(subst ., ,$(PYTHON3_VERSION)))
PYTHON3_PKG_DIR:=/usr/lib/python$(PYTHON3_VERSION)/site-packages
PYTHON3_PKG_BUILD?=1

# Folder, program and arguments, more variables.
define Python3/Run
cd "$(or $(strip $(1)),.)" && PYTHONDONTWRITEBYTECODE=1 PYTHONOPTIMIZE= $(3) $(HOST_PYTHON3_BIN) $(2)
endef

define Python3/CompileAll
$(call Python3/Run,,-m compileall -q -b -d / --invalidation-mode unchecked-hash $(1),PYTHONHASHSEED=0)
endef

# A source archive is fetched by pip, and has to be the one that the recipe means.
ifeq ($(strip $(PYTHON3_PKG_BUILD)),1)
  define Build/Prepare/Default
	$(PROGRAM) unpack $(PYPI_NAME)==$(PKG_VERSION) $(DL_DIR)/$(PKG_SOURCE) $(PKG_HASH) $(dir $(PKG_BUILD_DIR))
  endef
  define Build/Compile/Default
	$(PROGRAM) install $(PKG_BUILD_DIR) $(PKG_INSTALL_DIR)$(PYTHON3_PKG_DIR)
  endef
endif

define Stand-in/Everything
+|$(PYTHON3_PKG_DIR)
endef

define Py3Package
  Py3Package/$(1)/filespec?=$$(Stand-in/Everything)
  Py3Package/$(1)/install?=:

  define Package/$(1)/install
	$$(call Py3Package/$(1)/install,$$(1))
	$$(file >$(OUT)/$(1)/filespec,$$(Py3Package/$(1)/filespec))
	$(PROGRAM) pick $(OUT)/$(1)/filespec $(PKG_INSTALL_DIR) $$(1)
	$$(call Python3/CompileAll,$$(1))
	$(FIND) $$(1) -type f -name '*.py' -delete
	$(FIND) $$(1) -mindepth 1 -empty -type d -delete
  endef
endef
