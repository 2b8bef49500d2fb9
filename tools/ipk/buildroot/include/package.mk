# A stand-in for the buildroot's package.mk. `make describe` writes what a recipe says of its packages to
# OUT/PACKAGE/NAME, a file for each name; `make stage` also prepares, compiles and installs into OUT/PACKAGE/root.

PKG_BUILD_DIR?=$(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR:=$(PKG_BUILD_DIR)/ipkg-install

# What a recipe downloads is in DL_DIR already, and has to be what the recipe means.
ifndef Build/Prepare/Default
define Build/Prepare/Default
	$(if $(PKG_SOURCE),$(PROGRAM) source $(DL_DIR)/$(PKG_SOURCE) $(PKG_HASH) $(dir $(PKG_BUILD_DIR)))
endef
endif

Build/Prepare?=$(Build/Prepare/Default)
Build/Compile?=$(Build/Compile/Default)

define Package/Default
  SECTION:=opt
  CATEGORY:=Extra packages
  DEPENDS:=
  CONFLICTS:=
  PROVIDES:=
  TITLE:=
  URL:=
  USERID:=
  PKGARCH:=$(ARCH_PACKAGES)
  VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)
  LICENSE:=$(PKG_LICENSE)
endef

# make expands all of a rule's lines before it runs one, so the folder for $(file) is made by $(shell).
# A target-specific variable keeps a value as it is now for the time when the recipe's lines are carried out.
FIELDS:=VERSION SECTION DEPENDS CONFLICTS PROVIDES TITLE URL USERID PKGARCH LICENSE
TEXTS:=description conffiles preinst postinst prerm postrm

.PHONY: describe stage build

build:
	rm -rf $(PKG_BUILD_DIR)
	$(INSTALL_DIR) $(PKG_BUILD_DIR)
	$(call Build/Prepare)
	$(call Build/Compile)

# Packages with sources (-src) are the SDK's.
BuildPackage=$(if $(filter %-src,$(1)),,$(eval $(call Stand-in/Package,$(1))))

define Stand-in/Package
  $(eval $(Package/Default))
  $(eval $(Package/$(1)))
  $(foreach field,$(FIELDS),$(eval describe/$(1): $(1)/$(field):=$($(field))))

  .PHONY: describe/$(1) stage/$(1)
  describe: describe/$(1)
  stage: stage/$(1)

  describe/$(1):
	$$(shell mkdir -p $(OUT)/$(1))
	$$(file >$(OUT)/$(1)/SOURCE,$(CURDIR))
	$(foreach field,$(FIELDS),$$(file >$(OUT)/$(1)/$(field),$$($(1)/$(field))))
	$(foreach text,$(TEXTS),$$(if $$(Package/$(1)/$(text)),$$(file >$(OUT)/$(1)/$(text),$$(Package/$(1)/$(text)))))

  stage/$(1): describe/$(1) build
	rm -rf $(OUT)/$(1)/root
	mkdir -p $(OUT)/$(1)/root
	$$(call Package/$(1)/install,$(OUT)/$(1)/root)
endef
