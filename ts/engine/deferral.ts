import { SysError } from '../sys/error.ts';
import { defer } from '../sys/sequences.ts';
import { EngineError, type Peer } from './engine.ts';

const EOPNOTSUPP = 95;

/** After trouble with Fast Open the kernel would send the SYN, and a blocking socket would make us wait for it. */
export function blackholeError(timeout: number): EngineError {
  return new EngineError(
    `net.ipv4.tcp_fastopen_blackhole_timeout_sec is ${timeout}, so the kernel may stop delaying connects; run: sysctl net.ipv4.tcp_fastopen_blackhole_timeout_sec=0`,
  );
}

export function notDelayedError(): EngineError {
  return new EngineError('the kernel did not delay the connect');
}

/** What a failed deferral means, where its errno alone does not tell. */
export function explained(error: unknown): unknown {
  const { operation, errno } = error instanceof SysError ? error : { operation: '', errno: 0 };
  if (errno !== EOPNOTSUPP || !operation.startsWith('setsockopt(TCP_FASTOPEN')) return error;
  return new EngineError(
    'the kernel delays no connect while the client bit of net.ipv4.tcp_fastopen is off; run: sysctl net.ipv4.tcp_fastopen=1 (or 3 if the server bit is in use)',
  );
}

/**
 * A connect() that the kernel answers at once and without a packet: it picks route, source address, port and
 * timestamp offset, and keeps the SYN for the first write. That is how TCP_FASTOPEN_CONNECT behaves where no
 * cookie is asked for. The caller sees to it that no plain SYN leaves if the kernel decides otherwise.
 * A failed connect() is a SysError with the errno that the application would have got.
 */
export function deferConnect(fd: number, peer: Peer, blackholeTimeout: number): void {
  if (blackholeTimeout !== 0) throw blackholeError(blackholeTimeout);
  try {
    if (!defer(fd, peer.sockaddr)) throw notDelayedError();
  } catch (error) {
    throw explained(error);
  }
}
