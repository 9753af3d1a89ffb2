import { SysError } from '../sys/error.ts';

/** The calls of which errors speak. */
export type Call = 'connect' | 'listen' | 'accept';

/**
 * TCP Stealth can't be applied: no control process, or one that refuses; the message says why and what to do.
 * Nothing was sent without a token, and nothing listens without a guard.
 */
export class StealthError extends Error {
  override readonly name = 'StealthError';
  /** What the same failure is called in a program under libknockify.so. */
  readonly code = 'EPROTONOSUPPORT';
  readonly syscall: Call;

  constructor(syscall: Call, reason: string) {
    super(`${syscall}: ${reason}`);
    this.syscall = syscall;
  }
}

/** What the network or the kernel says, in the form of Node's own: ECONNREFUSED, ETIMEDOUT, EADDRINUSE and so on. */
export interface NetworkError extends NodeJS.ErrnoException {
  readonly code: string;
  readonly syscall: string;
  readonly address: string;
  readonly port: number;
}

/** Where a call was to lead, for messages. */
export interface Named {
  readonly address: string;
  readonly port: number;
}

/** `errno` is positive. */
export function networkError(syscall: Call, errno: number, { address, port }: Named): NetworkError {
  const { code, message } = new SysError(syscall, errno);
  const fields = { code, errno: -errno, syscall, address, port };
  return Object.assign(new Error(`${message} ${address}:${port}`), fields);
}

/** Makes a NetworkError of a system call that failed. */
export function asNetwork<T>(syscall: Call, where: Named, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof SysError ? networkError(syscall, error.errno, where) : error;
  }
}
