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

# rpcd knows plugins from its start, and LuCI its menu from a cache.
define Package/$(PKG_NAME)/postinst
#!/bin/sh
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	killall -HUP rpcd 2>/dev/null
	exit 0
}
endef

Build/Prepare:=:
Build/Compile:=:

define Package/$(PKG_NAME)/install
	[ ! -d htdocs ] || { $(INSTALL_DIR) $(1)/www && $(CP) htdocs/. $(1)/www/; }
	[ ! -d root ] || $(CP) root/. $(1)/
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
