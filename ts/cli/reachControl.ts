import { DEFAULT_SOCKET } from '../spec/messages.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import type { Environment } from './preload.ts';

/** Whether a control process serves at a path. `denied`: there is one, but not for this user. */
export interface Reach {
  readonly socket: string;
  readonly state: 'serves' | 'absent' | 'denied';
  /** What the kernel says, where nobody answers. */
  readonly reason?: string;
}

const ABSENT = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED'];

/** Looks where the library will: at KNOCK_CONTROL, or else at the default place. */
export function reachControl(env: Environment): Reach {
  const socket = env.KNOCK_CONTROL || DEFAULT_SOCKET;
  try {
    channel.close(channel.connect(socket));
    return { socket, state: 'serves' };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return { socket, state: ABSENT.includes(error.code) ? 'absent' : 'denied', reason: error.code };
  }
}
