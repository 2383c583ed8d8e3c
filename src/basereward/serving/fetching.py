"""Images from the web: off by default, and where it is allowed from named hosts alone, which must be public ones.

A server that fetches what a stranger names can be made to ask machines that only it can reach. So the host must stand
in a list, its address is looked up once, must be public, and is the one that is connected to; and all of this holds for
every redirect anew.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Collection

import httpx2

from basereward.errors import RowError

SECONDS, MOST_REDIRECTS = 10.0, 3
_CHUNK = 2**16
# Without compression, so that the bytes that are counted are those that are kept.
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity"}
Resolve = Callable[[str], Collection[str]]


def resolve(host: str) -> Collection[str]:
    """Return the addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)]


class Fetcher:
    """Fetches images over https from the hosts of a list.

    Args:
        hosts: exact names.
        max_bytes: of an image.
        resolve: looks up addresses.
        transport: what carries requests; the network by default.
    """

    def __init__(
        self,
        hosts: Collection[str],
        max_bytes: int,
        resolve: Resolve = resolve,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._max_bytes = max_bytes
        self._resolve = resolve
        # Proxies of the environment would look the name up again.
        self._http = httpx2.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=SECONDS)

    def fetch(self, address: str) -> bytes:
        """Return the bytes behind an address.

        Raises:
            RowError: ``image_missing`` if it may not be fetched or is not there, ``image_limit`` if it is too large.
        """
        until = time.monotonic() + SECONDS
        try:
            for _ in range(1 + MOST_REDIRECTS):
                found = self._get(address, until)
                if isinstance(found, bytes):
                    return found
                address = found
        except RowError:
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise _missing(f"it cannot be fetched ({type(error).__name__})") from error
        raise _missing("it redirects too often")

    def _get(self, address: str, until: float) -> bytes | str:
        """Return the bytes of an address, or the address that it redirects to."""
        place = httpx2.URL(address)
        host = place.host.lower().rstrip(".")
        if place.scheme != "https" or place.port not in (None, 443) or place.userinfo or host not in self._hosts:
            raise _missing("only https addresses of allowed hosts are fetched")
        pinned = place.copy_with(host=self._public_address(host))
        request = self._http.build_request(
            "GET", pinned, headers=_HEADERS | {"Host": host}, extensions={"sni_hostname": host}
        )
        reply = self._http.send(request, stream=True)
        try:
            if reply.has_redirect_location:
                return str(place.join(reply.headers["Location"]))
            if reply.status_code != 200:
                raise _missing(f"the host answered {reply.status_code}")
            return self._read(reply, until)
        finally:
            reply.close()

    def _public_address(self, host: str) -> str:
        found = [ipaddress.ip_address(address.partition("%")[0]) for address in self._resolve(host)]
        # All of them: of a name with one private address it would be chance which one is asked.
        if not found or not all(_is_public(address) for address in found):
            raise _missing("the host has no public address")
        return str(found[0])

    def _read(self, reply: httpx2.Response, until: float) -> bytes:
        data = bytearray()
        for chunk in reply.iter_raw(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise RowError("image_limit", f"An image of the web has more than {self._max_bytes} bytes.")
            # The timeout of the client is one of silence.
            if time.monotonic() > until:
                raise _missing(f"it takes longer than {SECONDS:g} seconds")
        return bytes(data)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _missing(why: str) -> RowError:
    return RowError("image_missing", f"An image is given by its address, and {why}; send its bytes.")
