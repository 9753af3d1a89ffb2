import { defineConfig } from 'vitest/config';
import { patient } from './test/lab/slowness.ts';

/** Takes minutes, and programs that nothing else needs: `npm run test:programs`. */
const PROGRAMS = 'test/programs/pairs.test.ts';
/** Likewise: `npm run test:package`. */
const PACKAGE = 'test/package/*.test.ts';
/** Boots other kernels: `npm run test:kernels`. What it runs inside of them needs what this machine's may lack. */
const KERNELS = 'test/kernels/kernels.test.ts';
const INSIDE = 'test/kernels/inside/*.test.ts';
/** Takes many minutes: `npm run test:hard`, which also does some other tests more often. */
const HARD = 'test/hard/**/*.test.ts';
const MORE_OFTEN = [
  ...['killing', 'timewait', 'trouble', 'hostile'].map((name) => `test/lab/${name}.test.ts`),
  'test/fuzz/*.test.ts',
  'test/shim/fuzz.test.ts',
];

export default defineConfig({
  test: {
    // ffi-napi crashes when a worker thread that loaded it ends.
    pool: 'forks',
    // Each lab has namespaces of its own, and waits more than it computes.
    maxWorkers: 2,
    testTimeout: patient(30_000),
    hookTimeout: patient(60_000),
    projects: [
      {
        extends: true,
        test: {
          name: 'suite',
          include: ['test/**/*.test.ts'],
          exclude: [PROGRAMS, PACKAGE, KERNELS, INSIDE, HARD],
        },
      },
      { extends: true, test: { name: 'hard', include: [HARD, ...MORE_OFTEN] } },
      { extends: true, test: { name: 'programs', include: [PROGRAMS] } },
      // Packing builds anew what the other file takes.
      { extends: true, test: { name: 'package', include: [PACKAGE], fileParallelism: false } },
      { extends: true, test: { name: 'kernels', include: [KERNELS] } },
      { extends: true, test: { name: 'inside', include: [INSIDE] } },
    ],
  },
});
