# A stand-in for the buildroot's rules.mk: what this feed's recipes use of it, so that they can be read and carried out
# without an SDK. The caller gives OUT, PYTHON3_VERSION, HOST_PYTHON3_BIN, and PROGRAM, how tools.ipk is started.

INCLUDE_DIR:=$(TOPDIR)/include
BUILD_DIR:=$(OUT)/build
DL_DIR?=$(OUT)/dl
ARCH_PACKAGES:=sdk
SHELL:=/bin/sh

CP:=cp -fpR
FIND:=find
LN:=ln -sf
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600

define newline


endef
empty:=
space:=$(empty) $(empty)

.DEFAULT_GOAL:=stage
