import { SysError } from '../../sys/error.ts';
import { bind, getUint, setInt } from '../../sys/libc.ts';

const EINVAL = 22;
const ENOPROTOOPT = 92;

/** The application's own IP_LOCAL_PORT_RANGE (low | high << 16, 0 if unset); 0 on kernels before 6.3, which have none. */
export function portRange(fd: number): number {
  try {
    return getUint(fd, 'IP_LOCAL_PORT_RANGE');
  } catch (error) {
    if (error instanceof SysError && error.errno === ENOPROTOOPT) return 0;
    throw error;
  }
}

/** Takes the pinned port back, or does nothing where there was no pinning. */
export function restorePortRange(fd: number, range: number): void {
  if (portRange(fd) !== range) setInt(fd, 'IP_LOCAL_PORT_RANGE', range);
}

/**
 * Makes the next connect() of an unbound socket take this source port: the timestamp offset may depend on it
 * (6.18.17 and later). A socket that the application bound keeps its port and ignores the range; which of the
 * two it is, nothing tells: getsockname() goes on naming the port of the last connection.
 * `source`: the `struct sockaddr` to bind to on kernels without IP_LOCAL_PORT_RANGE (before 6.3).
 */
export function pinPort(fd: number, port: number, source: Uint8Array): void {
  try {
    setInt(fd, 'IP_LOCAL_PORT_RANGE', port | (port << 16));
  } catch (error) {
    if (!(error instanceof SysError && error.errno === ENOPROTOOPT)) throw error;
    bindPort(fd, source);
  }
}

/**
 * The same by an ordinary bind(). The socket stays bound after a failed connect, which an application can
 * notice, and shares the port with nobody.
 */
export function bindPort(fd: number, source: Uint8Array): void {
  setInt(fd, 'IP_BIND_ADDRESS_NO_PORT', 0);
  try {
    bind(fd, source);
  } catch (error) {
    // Bound by the application, so that the port stays what it was.
    if (!(error instanceof SysError && error.errno === EINVAL)) throw error;
  }
}
