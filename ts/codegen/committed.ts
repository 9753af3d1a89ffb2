import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Writes generated files, by their path in the repository, where they differ from what is there. With `--verify` on the
 * command line it writes nothing, and fails if one differs.
 */
export function keepCurrent(files: Readonly<Record<string, string>>): void {
  const stale = Object.entries(files).filter(([name, text]) => current(join(root, name)) !== text);
  if (process.argv.includes('--verify')) {
    for (const [name] of stale) console.error(`${name} is stale; run: npm run generate`);
    process.exitCode = stale.length > 0 ? 1 : 0;
    return;
  }
  for (const [name, text] of stale) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
    console.log(`wrote ${name}`);
  }
}
