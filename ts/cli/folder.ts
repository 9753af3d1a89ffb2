import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../config/error.ts';

const MODE_ABOVE = 0o755;

/**
 * Makes a folder, and those above it, unless it is there. Throws ConfigError with the name of the one that can't be made.
 * mkdirSync's own way of making those above tries for ever below /proc, where the kernel says ENOENT of what is new.
 */
export function makeFolder(path: string, mode = MODE_ABOVE): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Somebody else was quicker.
    if (code === 'EEXIST' && existsSync(path)) return;
    throw new ConfigError(`the folder ${path} can't be made (${code}); take another place, or make it first`);
  }
}
