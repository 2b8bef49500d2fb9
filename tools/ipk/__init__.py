"""The feed's pure-Python packages, built without an SDK.

    recipe    runs a recipe of openwrt/ with GNU make and the stand-ins of buildroot/: what is in its packages
    steps     what the stand-ins call: fetch, unpack, install, pick files
    unpack    source archives -> files, with each Python from 3.10 on
    interpreter   a Python of the router's minor: installed here, or CPython for WebAssembly
    archive   packages -> .ipk, the same bytes for the same input
    apk       packages -> what `apk mkpkg` takes
    __main__  `make ipk`

The recipes are the one source of file lists, dependencies, users and scripts: the SDK reads the same.
"""
