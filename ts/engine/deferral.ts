import { SysError } from '../sys/error.ts';
import { connect, disconnect, getUint, setInt } from '../sys/libc.ts';
import { EngineError, type Peer } from './engine.ts';
import { TCP_STATE, tcpState } from './socket.ts';

const EOPNOTSUPP = 95;
/** RFC 9293 section 3.7.1. */
const DEFAULT_MSS = 536;

/** What a disconnect makes the socket forget though the application set it. */
export interface Forgotten {
  readonly maxSegment: number;
  readonly windowClamp: number;
  readonly quickAck: number;
}

export function readForgotten(fd: number): Forgotten {
  return {
    maxSegment: getUint(fd, 'TCP_MAXSEG'),
    windowClamp: getUint(fd, 'TCP_WINDOW_CLAMP'),
    quickAck: getUint(fd, 'TCP_QUICKACK'),
  };
}

/** Unset options read as their defaults before and after, and are left alone. */
export function restoreForgotten(fd: number, before: Forgotten): void {
  // Unset, it reads as this default; after a SYN, as what the path carries, which is no setting either.
  if (before.maxSegment !== DEFAULT_MSS && getUint(fd, 'TCP_MAXSEG') !== before.maxSegment)
    setInt(fd, 'TCP_MAXSEG', before.maxSegment);
  if (getUint(fd, 'TCP_WINDOW_CLAMP') !== before.windowClamp)
    setInt(fd, 'TCP_WINDOW_CLAMP', before.windowClamp);
  if (getUint(fd, 'TCP_QUICKACK') !== before.quickAck) setInt(fd, 'TCP_QUICKACK', before.quickAck);
}

function allowDeferral(fd: number): void {
  try {
    setInt(fd, 'TCP_FASTOPEN_CONNECT', 1);
    setInt(fd, 'TCP_FASTOPEN_NO_COOKIE', 1);
  } catch (error) {
    if (!(error instanceof SysError && error.errno === EOPNOTSUPP)) throw error;
    throw new EngineError(
      'the kernel delays no connect while the client bit of net.ipv4.tcp_fastopen is off; run: sysctl net.ipv4.tcp_fastopen=1 (or 3 if the server bit is in use)',
    );
  }
}

/**
 * A connect() that the kernel answers at once and without a packet: it picks route, source address, port and
 * timestamp offset, and keeps the SYN for the first write. That is how TCP_FASTOPEN_CONNECT behaves where no
 * cookie is asked for. The caller sees to it that no plain SYN leaves if the kernel decides otherwise.
 * A failed connect() is a SysError with the errno that the application would have got.
 */
export function deferConnect(fd: number, peer: Peer, blackholeTimeout: number): void {
  // After trouble with Fast Open the kernel would send the SYN, and a blocking socket would make us wait for it.
  if (blackholeTimeout !== 0) {
    throw new EngineError(
      `net.ipv4.tcp_fastopen_blackhole_timeout_sec is ${blackholeTimeout}, so the kernel may stop delaying connects; run: sysctl net.ipv4.tcp_fastopen_blackhole_timeout_sec=0`,
    );
  }
  allowDeferral(fd);
  const errno = connect(fd, peer.sockaddr);
  if (errno !== 0) throw new SysError('connect', errno);
  if (tcpState(fd) !== TCP_STATE.synSent) throw new EngineError('the kernel did not delay the connect');
}

/** Undoes a deferral; also ends the attempt of a socket that is connecting. Keeps what the application had set. */
export function undoDeferral(fd: number, before: Forgotten): void {
  disconnect(fd);
  // The disconnect leaves ECONNRESET behind, which the application would take for its own connection's.
  getUint(fd, 'SO_ERROR');
  forbidDeferral(fd);
  restoreForgotten(fd, before);
}

/** The kernel refuses to clear the options, too, where Fast Open has been turned off since: leave clear ones alone. */
export function forbidDeferral(fd: number): void {
  if (getUint(fd, 'TCP_FASTOPEN_CONNECT') !== 0) setInt(fd, 'TCP_FASTOPEN_CONNECT', 0);
  if (getUint(fd, 'TCP_FASTOPEN_NO_COOKIE') !== 0) setInt(fd, 'TCP_FASTOPEN_NO_COOKIE', 0);
}
