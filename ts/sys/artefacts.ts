import { fileURLToPath } from 'node:url';

/** Path of something that node-gyp built. The same from `ts/sys` and from `dist/sys`: both lie two levels down. */
export function artefact(name: string): string {
  return fileURLToPath(new URL(`../../build/Release/${name}`, import.meta.url));
}
