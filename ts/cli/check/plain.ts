import type { Endpoint } from '../../api/endpoint.ts';
import { limited, untilReady } from '../../api/patience.ts';
import * as channel from '../../sys/channel.ts';
import { SysError } from '../../sys/error.ts';
import * as tcp from '../../sys/tcp.ts';

/** What becomes of a connect. */
export type Answer =
  /** Connected. */
  | 'open'
  /** Refused: a RST. */
  | 'closed'
  /** No answer. */
  | 'filtered'
  /** The network says that there is no way, or this machine does. */
  | 'unreachable'
  /** Connected, then reset. */
  | 'reset';

export interface Outcome {
  readonly answer: Answer;
  /** The errno's name, where there was one. */
  readonly code: string | undefined;
}

const EINPROGRESS = 115;
const ANSWERS: Readonly<Record<string, Answer>> = {
  ECONNREFUSED: 'closed',
  ETIMEDOUT: 'filtered',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
};

/** What an errno of connect(2) says, by its name. */
export function answerOf(code: string): Answer {
  return ANSWERS[code] ?? 'unreachable';
}

class Late extends Error {}

/** A connect as anybody would make it, also where libknockify.so is preloaded. Milliseconds. */
export async function connectPlainly({ family, sockaddr }: Endpoint, timeout: number): Promise<Outcome> {
  const fd = tcp.socket(family);
  try {
    const errno = await limited(
      { ms: timeout, late: () => new Late(), signal: undefined },
      async (signal) => {
        const begun = tcp.connect(fd, sockaddr);
        if (begun !== EINPROGRESS) return begun;
        await untilReady(fd, 'writable', signal);
        return tcp.getInt(fd, 'SO_ERROR');
      },
    );
    if (errno === 0) return { answer: 'open', code: undefined };
    const { code } = new SysError('connect', errno);
    return { answer: answerOf(code), code };
  } catch (error) {
    if (error instanceof Late) return { answer: 'filtered', code: undefined };
    throw error;
  } finally {
    channel.close(fd);
  }
}
