import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { artefact } from '../sys/artefacts.ts';
import { type Elf, readElf } from './elf.ts';
import { NOT_RUNNABLE, ProgramError } from './program.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const LIBRARY = 'libknockify.so';
/** LD_PRELOAD is a list, and has no way to quote these. */
const SEPARATORS = /[ :]+/;
const TRACE_TIMEOUT = 10_000;
/** What glibc's loader exits with instead of listing, when the kernel asks it for caution (AT_SECURE). */
const SECURE_MODE = 5;

/** The library's place and its ELF headers. Throws an Error that says how to get it. */
export function findLibrary(): { readonly path: string; readonly elf: Elf } {
  const path = artefact(LIBRARY);
  let elf: Elf | undefined;
  try {
    elf = readElf(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(
      `${path}: ${code === 'ENOENT' ? 'it is not there' : message}; build it with: npm run build`,
    );
  }
  if (elf === undefined)
    throw new Error(`${path}: it is no shared library; build it again with: npm run build`);
  if (SEPARATORS.test(path))
    throw new Error(
      `${path}: LD_PRELOAD can't name a path with a blank or a colon in it; install it elsewhere`,
    );
  return { path, elf };
}

/** LD_PRELOAD with the library in front of what is there already. */
export function preloadVariable(library: string, existing = ''): string {
  return [library, ...withoutLibrary(existing)].join(':');
}

/** The same environment for a process that must not run under the library. */
export function unpreloaded(env: Environment): Record<string, string | undefined> {
  const { LD_PRELOAD = '', ...others } = env;
  const rest = withoutLibrary(LD_PRELOAD);
  return rest.length === 0 ? others : { ...others, LD_PRELOAD: rest.join(':') };
}

function withoutLibrary(preload: string): string[] {
  return preload.split(SEPARATORS).filter((name) => name !== '' && basename(name) !== LIBRARY);
}

/**
 * Has the dynamic loader list what it would load into a program, without running it. The program must be one that
 * `preloadable` returned: another loader than glibc's would run it. Throws ProgramError if the library is not there:
 * the loader goes on without what it can't load, or may not (file capabilities).
 */
export function proveLoads(program: string, library: string, env: Environment): void {
  const { status, error, stdout, stderr } = spawnSync(program, [], {
    env: { ...env, LD_TRACE_LOADED_OBJECTS: '1', LD_DEBUG: undefined },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TRACE_TIMEOUT,
  });
  if (error !== undefined) throw new ProgramError(`${program}: it can't be started: ${error.message}`);
  if (stdout.split('\n').some((line) => line.trim().startsWith(`${library} (`))) return;
  const complaint = stderr.split('\n').find((line) => line.includes(LIBRARY));
  const why =
    status === SECURE_MODE
      ? 'it gets rights that this user lacks (file capabilities), and the dynamic loader takes no LD_PRELOAD for those'
      : (complaint ?? 'the dynamic loader does not say why').trim();
  throw new ProgramError(`${program}: libknockify.so is not loaded into it: ${why}`, NOT_RUNNABLE);
}
