# A stand-in for the packages feed's pypi.mk: where a source archive of PyPI's is unpacked, and what it is called.

PYPI_SOURCE_NAME?=$(PYPI_NAME)
PKG_SOURCE?=$(PYPI_SOURCE_NAME)-$(PKG_VERSION).tar.gz
PKG_BUILD_DIR:=$(BUILD_DIR)/pypi/$(PYPI_SOURCE_NAME)-$(PKG_VERSION)
