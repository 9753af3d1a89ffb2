import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // ffi-napi crashes when a worker thread that loaded it ends.
    pool: 'forks',
    // The lab tests share two cores and one kernel: files run one after another.
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
