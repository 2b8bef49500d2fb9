# A stand-in for the LuCI feed's luci.mk: what an application of JavaScript, JSON and scripts needs of it. Catalogues are
# compiled, and scripts made smaller, by the SDK alone.

PKG_NAME?=$(notdir $(CURDIR))
PKG_VERSION?=0
PKG_RELEASE?=1
PKG_LICENSE?=MIT

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  CATEGORY:=LuCI
  TITLE:=$(LUCI_TITLE)
  DEPENDS:=$(LUCI_DEPENDS)
  PKGARCH:=$(or $(LUCI_PKGARCH),all)
endef

define Package/$(PKG_NAME)/description
  $(or $(LUCI_DESCRIPTION),$(LUCI_TITLE))
endef

Build/Prepare:=:
Build/Compile:=:

define Package/$(PKG_NAME)/install
	[ ! -d htdocs ] || { $(INSTALL_DIR) $(1)/www && $(CP) htdocs/. $(1)/www/; }
	[ ! -d root ] || $(CP) root/. $(1)/
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
