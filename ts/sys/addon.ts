import { createRequire } from 'node:module';
import { artefact } from './artefacts.ts';

/** The addon. Each part of ts/sys that calls it names the functions that it uses. */
export const addon: unknown = createRequire(import.meta.url)(artefact('knockify_native.node'));
