import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { calls } from '../spec/calls.ts';
import { buildCallTable, buildStateDiagram } from './docs.ts';
import { buildMessagesHeader } from './messages.ts';
import { buildOriginalsHeader, buildOriginalsSource } from './originals.ts';
import { buildVersionScript, buildWrappers } from './wrappers.ts';

const files: Readonly<Record<string, string>> = {
  'shim/generated/messages.h': buildMessagesHeader(),
  'shim/generated/originals.h': buildOriginalsHeader(calls),
  'shim/generated/originals.c': buildOriginalsSource(calls),
  'shim/generated/wrappers.c': buildWrappers(calls),
  'shim/generated/libknockify.map': buildVersionScript(calls),
  'docs/calls.md': buildCallTable(calls),
  'docs/delayed-connect.md': buildStateDiagram(),
};

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

const stale = Object.entries(files).filter(([name, text]) => current(join(root, name)) !== text);
if (process.argv.includes('--verify')) {
  for (const [name] of stale) console.error(`${name} is stale; run: npm run generate`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [name, text] of stale) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
    console.log(`wrote ${name}`);
  }
}
