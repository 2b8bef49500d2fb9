"""Keys and requests by libcrypto, the library of OpenSSL that Python's ssl has loaded: through ctypes.

A router has it already: python3-openssl needs libopenssl, and the clock's state is read by ctypes. The program
`openssl` would be one more package. Only functions that OpenSSL 1.1.1 and 3 both have.

Knows libcrypto. Must not know files or
EST. Loaded in a child process that ends at once, so no key stays in memory.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: NID_X9_62_id_ecPublicKey, MBSTRING_UTF8.
_EC, _UTF8 = 408, 0x1000
#: Bytes of what is made here.
_MAX_MADE = 1 << 16

_P, _I, _S, _N = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
#: Function -> result, arguments. Without these ctypes would cut pointers to 32 bits.
_FUNCTIONS = {
    "BIO_new": (_P, _P),
    "BIO_s_mem": (_P,),
    "BIO_new_mem_buf": (_P, _S, _I),
    "BIO_read": (_I, _P, _S, _I),
    "BIO_free_all": (None, _P),
    "EVP_PKEY_CTX_new_id": (_P, _I, _P),
    "EVP_PKEY_CTX_ctrl_str": (_I, _P, _S, _S),
    "EVP_PKEY_CTX_free": (None, _P),
    "EVP_PKEY_keygen_init": (_I, _P),
    "EVP_PKEY_keygen": (_I, _P, ctypes.POINTER(_P)),
    "EVP_PKEY_free": (None, _P),
    "PEM_read_bio_PrivateKey": (_P, _P, _P, _P, _S),
    "PEM_write_bio_PKCS8PrivateKey": (_I, _P, _P, _P, _P, _I, _P, _P),
    "i2d_PUBKEY_bio": (_I, _P, _P),
    "EVP_sha256": (_P,),
    "EVP_MD_CTX_new": (_P,),
    "EVP_MD_CTX_free": (None, _P),
    "EVP_DigestSignInit": (_I, _P, _P, _P, _P, _P),
    "EVP_DigestSign": (_I, _P, _S, ctypes.POINTER(_N), _S, _N),
    "X509_REQ_new": (_P,),
    "X509_REQ_free": (None, _P),
    "X509_REQ_get_subject_name": (_P, _P),
    "X509_NAME_add_entry_by_txt": (_I, _P, _S, _I, _S, _I, _I, _I),
    "X509_REQ_set_pubkey": (_I, _P, _P),
    "X509_REQ_sign": (_I, _P, _P, _P),
    "i2d_X509_REQ_bio": (_I, _P, _P),
}


class KeyFileError(Exception):
    """A key that cannot be used, or a library that lacks something. One line."""


def _library() -> ctypes.CDLL:
    import _ssl  # noqa: F401 - brings libcrypto into this process

    for name in (None, "libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"):
        try:
            found = ctypes.CDLL(name)
            for function, (result, *arguments) in _FUNCTIONS.items():
                one = getattr(found, function)
                one.restype, one.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return found
    raise KeyFileError("libcrypto (OpenSSL 1.1.1 or later) is missing")


class Crypto:
    """Each call raises `KeyFileError`. key: PEM without a passphrase."""

    def __init__(self) -> None:
        self._c = _library()

    def make_key(self) -> bytes:
        """A new key of P-256, PEM (PKCS #8)."""
        c = self._c
        context = c.EVP_PKEY_CTX_new_id(_EC, None)
        key = ctypes.c_void_p()
        try:
            self._sure(c.EVP_PKEY_keygen_init(context), "a key")
            for name, value in ((b"ec_paramgen_curve", b"P-256"), (b"ec_param_enc", b"named_curve")):
                self._sure(c.EVP_PKEY_CTX_ctrl_str(context, name, value), "a key of P-256")
            self._sure(c.EVP_PKEY_keygen(context, ctypes.byref(key)), "a key")
        finally:
            c.EVP_PKEY_CTX_free(context)
        try:
            return self._written(lambda bio: c.PEM_write_bio_PKCS8PrivateKey(bio, key, None, None, 0, None, None))
        finally:
            c.EVP_PKEY_free(key)

    def public(self, key: bytes) -> bytes:
        """The public key (SubjectPublicKeyInfo), DER."""
        return self._with(key, lambda loaded: self._written(lambda bio: int(self._c.i2d_PUBKEY_bio(bio, loaded))))

    def sign(self, key: bytes, data: bytes) -> bytes:
        """EC or RSA (PKCS #1) with SHA-256, or Ed25519."""
        return self._with(key, lambda loaded: self._signed(loaded, data))

    def request(self, key: bytes, name: str) -> bytes:
        """A request for a certificate with this common name, signed by the key (EC or RSA): PKCS #10, DER."""
        return self._with(key, lambda loaded: self._request(loaded, name.encode()))

    def _request(self, key: int, name: bytes) -> bytes:
        c = self._c
        made = c.X509_REQ_new()
        try:
            subject = c.X509_REQ_get_subject_name(made)
            self._sure(c.X509_NAME_add_entry_by_txt(subject, b"CN", _UTF8, name, len(name), -1, 0), "the name")
            self._sure(c.X509_REQ_set_pubkey(made, key), "a request")
            self._sure(c.X509_REQ_sign(made, key, c.EVP_sha256()), "a request")
            return self._written(lambda bio: int(c.i2d_X509_REQ_bio(bio, made)))
        finally:
            c.X509_REQ_free(made)

    def _signed(self, key: int, data: bytes) -> bytes:
        c = self._c
        for digest in (c.EVP_sha256(), None):  # Ed25519 takes none
            context = c.EVP_MD_CTX_new()
            try:
                if c.EVP_DigestSignInit(context, None, digest, None, key) != 1:
                    continue
                room, size = ctypes.create_string_buffer(1024), _N(1024)
                if c.EVP_DigestSign(context, room, ctypes.byref(size), data, len(data)) == 1:
                    return room.raw[: size.value]
            finally:
                c.EVP_MD_CTX_free(context)
        raise KeyFileError("the key cannot sign; expected EC, RSA of at most 8192 bits, or Ed25519")

    def _with(self, pem: bytes, use: Callable[[int], bytes]) -> bytes:
        c = self._c
        bio = c.BIO_new_mem_buf(pem, len(pem))
        # Any text keeps OpenSSL from asking a person for a passphrase.
        key = c.PEM_read_bio_PrivateKey(bio, None, None, b"none")
        c.BIO_free_all(bio)
        if not key:
            raise KeyFileError("not a private key in PEM without a passphrase")
        try:
            return use(key)
        finally:
            c.EVP_PKEY_free(key)

    def _written(self, write: Callable[[int], int]) -> bytes:
        c = self._c
        bio = c.BIO_new(c.BIO_s_mem())
        try:
            self._sure(write(bio), "a key")
            room = ctypes.create_string_buffer(_MAX_MADE)
            size = c.BIO_read(bio, room, _MAX_MADE)
            self._sure(size, "a key")
            return room.raw[:size]
        finally:
            c.BIO_free_all(bio)

    @staticmethod
    def _sure(result: int, what: str) -> None:
        if result <= 0:
            raise KeyFileError(f"libcrypto cannot make {what}")
