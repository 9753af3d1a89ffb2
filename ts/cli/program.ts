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

/** What a program is judged by. */
export interface Surroundings {
  /** ELF headers of libknockify.so. */
  readonly library: Elf;
  /** The PATH that env(1) in a #! line will search. */
  readonly path: string | undefined;
}

/**
 * The ELF programs that running a file starts: the file itself, or what its #! line names, and what that starts by
 * way of env(1). Throws ProgramError where libknockify.so can't be loaded into one of them: ld.so would go on
 * without it, and every connection would be a plain one.
 */
export function preloadable(file: string, around: Surroundings, depth = 0): string[] {
  if (depth > MOST_SCRIPTS)
    throw new ProgramError(`${file}: too many #! lines lead from one script to the next`);
  const elf = headers(file);
  if (elf !== undefined) {
    const reason = obstacle(file, elf, around.library);
    if (reason !== undefined) throw new ProgramError(`${file}: ${reason}`);
    return [file];
  }
  const line = scriptLine(file);
  if (line === undefined)
    throw new ProgramError(`${file}: it is neither an ELF program nor a script with a #! line`);
  const follow = (program: string) => preloadable(program, around, depth + 1);
  const programs = follow(interpreterOf(file, line.interpreter));
  if (basename(line.interpreter) !== 'env') return programs;
  return [...programs, ...follow(findProgram(commandOfEnv(file, line.argument), around.path))];
}

function headers(file: string): Elf | undefined {
  try {
    return readElf(file);
  } catch (error) {
    if (error instanceof ElfError) throw new ProgramError(`${file}: ${error.message}`);
    throw unreadable(file, error);
  }
}

function unreadable(file: string, error: unknown): ProgramError {
  const { code } = error as NodeJS.ErrnoException;
  return new ProgramError(
    `${file}: it can't be read (${code}), so nobody can tell whether the library would be loaded into it`,
  );
}

const SET_ID = 0o6000;
/** The names of glibc's dynamic loader. Others' neither load a library made for glibc nor list what they load. */
const GLIBC_LOADER = /^(ld-linux.*\.so\.\d+|ld64\.so\.\d+|ld\.so\.\d+)$/;

/** Why the library would not be loaded into a program, or would not see its connections. */
function obstacle(file: string, elf: Elf, library: Elf): string | undefined {
  if (elf.architecture !== library.architecture)
    return `it is made for another machine (${elf.architecture}) than libknockify.so (${library.architecture})`;
  if (elf.interpreter === undefined)
    return `it is a static ${elf.go ? 'Go ' : ''}program: no library can be loaded into it`;
  if (elf.go) return 'it is a Go program: those make their system calls themselves, past every library';
  if ((statSync(file).mode & SET_ID) !== 0)
    return 'it is a set-user-id or set-group-id program: the dynamic loader takes no LD_PRELOAD for those';
  if (!GLIBC_LOADER.test(basename(elf.interpreter)))
    return `its dynamic loader is ${elf.interpreter}: libknockify.so is made for programs that use glibc`;
  return undefined;
}

/** The kernel looks no further for the end of a #! line. */
const LINE_BYTES = 256;

interface ScriptLine {
  readonly interpreter: string;
  /** Everything behind it, which is one argument on Linux. */
  readonly argument: string;
}

function scriptLine(file: string): ScriptLine | undefined {
  const start = Buffer.alloc(LINE_BYTES);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, start, 0, LINE_BYTES, 0);
  } finally {
    closeSync(fd);
  }
  const parts = /^#![ \t]*([^ \t\n\0]+)[ \t]*([^\n\0]*)/.exec(start.toString('utf8'));
  return parts === null ? undefined : { interpreter: parts[1] ?? '', argument: (parts[2] ?? '').trimEnd() };
}

function interpreterOf(script: string, interpreter: string): string {
  try {
    return runnable(interpreter);
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    throw new ProgramError(
      `${script}: its interpreter can't be run: ${JSON.stringify(interpreter)}: ${error.message}`,
    );
  }
}

/** The command that env(1) starts. Refuses what could take LD_PRELOAD away or change where it looks. */
function commandOfEnv(script: string, argument: string): string {
  const split = /^(?:-S|--split-string=?|-vS)\s*/.exec(argument);
  const words = split === null ? [argument] : argument.slice(split[0].length).split(/\s+/);
  const command = words.find((word) => !/^\w+=/.test(word));
  const before = words.slice(0, command === undefined ? words.length : words.indexOf(command));
  if (command === undefined || command === '')
    throw new ProgramError(`${script}: its #! line names no program`);
  if (command.startsWith('-') || before.some((word) => /^(LD_\w+|PATH)=/.test(word)))
    throw new ProgramError(
      `${script}: its #! line changes the environment (${argument}): name the interpreter on the command line instead`,
    );
  return command;
}
