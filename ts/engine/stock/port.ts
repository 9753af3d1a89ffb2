import { SysError } from '../../sys/error.ts';
import { getUint, setInt } from '../../sys/libc.ts';

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
