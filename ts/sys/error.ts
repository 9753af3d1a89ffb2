import { getSystemErrorMap } from 'node:util';

/** Node's table has the C library's numbers; these are named differently there, or not at all. */
const LINUX_ONLY = new Map<number, readonly [string, string]>([
  [95, ['EOPNOTSUPP', 'operation not supported']],
  [524, ['ENOTSUPP', 'not supported by the kernel']],
]);

function describe(errno: number): readonly [name: string, text: string] {
  return LINUX_ONLY.get(errno) ?? getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, 'unknown error'];
}

/** A system call or library call that failed. */
export class SysError extends Error {
  override readonly name = 'SysError';
  /** What was tried: `setsockopt(TCP_REPAIR)`. */
  readonly operation: string;
  /** Positive errno. */
  readonly errno: number;
  /** Its name: `EPERM`. */
  readonly code: string;
  /** What to do about it, where that is known. */
  readonly remedy: string | undefined;

  constructor(operation: string, errno: number, remedy?: string) {
    const [code, text] = describe(errno);
    super(`${operation}: ${code}: ${text}${remedy === undefined ? '' : ` — ${remedy}`}`);
    this.operation = operation;
    this.errno = errno;
    this.code = code;
    this.remedy = remedy;
  }
}

/** A result of a call for a client's socket, of native/hands.h: why it was not waited for. */
const UNHEARD = new Map<number, readonly [operation: string, errno: number, remedy: string]>([
  [
    -1001,
    [
      'lock_sock',
      16,
      'another thread of the program holds the lock of the socket; does it copy from a file system that hangs?',
    ],
  ],
  [
    -1002,
    ['lock_sock', 16, 'too many sockets of this user are waited for already, whose locks are not let go of'],
  ],
  [-1003, ['lock_sock', 16, 'sockets of this user were waited for too long of late; try again in a while']],
  [
    -1004,
    ['pthread_create', 11, 'the control process needs a thread for this socket; is its limit reached?'],
  ],
]);

/** The error of a C function that returned this; `remedy` is for its own errors. */
export function failure(operation: string, result: number, remedy?: string): SysError {
  const unheard = UNHEARD.get(result);
  return unheard === undefined ? new SysError(operation, -result, remedy) : new SysError(...unheard);
}

/** Hands a C function's result on; a negative one is an errno and becomes a `SysError`. */
export function checked(operation: string, result: number, remedy?: string): number {
  if (result < 0) throw failure(operation, result, remedy);
  return result;
}
