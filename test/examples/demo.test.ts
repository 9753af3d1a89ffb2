import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../lab/program.ts';
import { patient } from '../lab/slowness.ts';

const PATIENCE = patient(60_000);

test(
  'the demo shows what it claims, in 80 columns and without colours where nobody looks',
  () => {
    const demo = spawnSync('npx', ['tsx', 'examples/demo/main.ts'], {
      cwd: REPOSITORY,
      encoding: 'utf8',
      timeout: PATIENCE,
    });
    expect(demo.status).toBe(0);
    expect(demo.stdout).toContain('All of it held.');
    expect(demo.stdout.match(/✓ computed = on the wire/g)).toHaveLength(4);
    expect(demo.stdout).not.toContain('✗');
    expect(demo.stdout).not.toContain('\u001b[');
    const lines = demo.stdout.split('\n');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  },
  PATIENCE,
);
