import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Elf, ElfError, readElf } from './elf.ts';

/** Statuses that shells give to a command that is not there, and to one that can't be run. */
export const NOT_FOUND = 127;
export const NOT_RUNNABLE = 126;

/** A command can't be run, or not under the library. The message says why. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
  readonly status: typeof NOT_FOUND | typeof NOT_RUNNABLE;

  constructor(message: string, status: typeof NOT_FOUND | typeof NOT_RUNNABLE = NOT_RUNNABLE) {
    super(message);
    this.status = status;
  }
}

/** What execvp() searches where PATH is not set. */
const DEFAULT_PATH = '/bin:/usr/bin';

/** Finds a command as execvp() does: a name with a slash is a path, others are searched in PATH. Throws ProgramError. */
export function findProgram(command: string, path: string = DEFAULT_PATH): string {
  if (command === '') throw new ProgramError('the command is empty', NOT_FOUND);
  if (command.includes('/')) return runnable(command);
  let denied: ProgramError | undefined;
  for (const directory of path.split(':')) {
    try {
      return runnable(join(directory || '.', command), command);
    } catch (error) {
      if (!(error instanceof ProgramError)) throw error;
      if (error.status === NOT_RUNNABLE) denied ??= error;
    }
  }
  throw denied ?? new ProgramError(`${command}: not found in PATH`, NOT_FOUND);
}

function runnable(path: string, name = path): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ProgramError(`${name}: not found`, NOT_FOUND);
  if (!stat.isFile()) throw new ProgramError(`${path}: it is not a regular file`);
  try {
    accessSync(path, constants.X_OK);
  } catch {
    throw new ProgramError(`${path}: it is not executable for this user`);
  }
  // A name without a slash would be searched again by whoever starts it.
  return path.includes('/') ? path : `./${path}`;
}

/** As deep as the kernel follows scripts whose interpreters are scripts. */
const MOST_SCRIPTS = 5;

/**
 * The ELF programs that running a file starts: the file itself, or what its #! line names, and what that starts by
 * way of env(1). Throws ProgramError where libknockify.so can't be loaded into one of them: ld.so would silently go
 * on without it. `library` is the library's own ELF header, `path` the PATH.
 */
export function preloadable(file: string, library: Elf, path?: string): string[] {
  const programs: string[] = [];
  let next: string | undefined = file;
  for (let depth = 0; next !== undefined; depth++) {
    if (depth > MOST_SCRIPTS) throw new ProgramError(`${file}: its #! lines lead in a circle`);
    const elf = headers(next);
    if (elf === undefined) {
      const line = scriptLine(next);
      if (line === undefined) throw new ProgramError(`${next}: neither an ELF program nor a script with a #! line`);
      const { interpreter, argument } = line;
      programs.push(...preloadableInterpreter(next, interpreter, library));
      next = basename(interpreter) === 'env' ? afterEnv(next, argument, path) : undefined;
      continue;
    }
    requirePreloadable(next, elf, library);
    programs.push(next);
    next = undefined;
  }
  return programs;
}

function preloadableInterpreter(script: string, interpreter: string, library: Elf): string[] {
  return [interpreter, script, library].length ? [] : [];
}
