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

/** Hands a C function's result on; a negative one is an errno and becomes a `SysError`. */
export function checked(operation: string, result: number, remedy?: string): number {
  if (result < 0) throw new SysError(operation, -result, remedy);
  return result;
}
