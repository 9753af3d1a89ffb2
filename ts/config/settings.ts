import type { Destination } from '../stealth/destination.ts';
import { ConfigError, type Refuse, shown } from './error.ts';
import { KEYS, type KeySpec, type LogLevel, namesOf, type Replay } from './keys.ts';
import { parseRc, type RcSection } from './rc.ts';
import type { SecretSource } from './secretForm.ts';
import { checkSections, type Section, sectionFor } from './sections.ts';
import { parseTargets, type Targets } from './targets.ts';

export type { LogLevel } from './keys.ts';
export type { SecretSource } from './secretForm.ts';

/** The texts that settings come from, as bytes: neither need be UTF-8. */
export interface RawSettings {
  /** Environment variables by name. Others than `POLICY_KEYS` are ignored. */
  readonly env: ReadonlyMap<string, Uint8Array>;
  readonly rc?: { readonly path: string; readonly text: Uint8Array } | undefined;
}

/** What one application (or the control process) has set. Undefined is not set. */
export interface Settings {
  readonly secret: SecretSource | undefined;
  readonly protectedLength: number | undefined;
  readonly replay: Replay | undefined;
  readonly targets: Targets | undefined;
  readonly logLevel: LogLevel | undefined;
  /** Seconds. */
  readonly timeout: number | undefined;
  /** What a client uses instead for some destinations; the environment has had its say. */
  readonly sections: readonly Section[];
  /** KNOCK_TARGETS is the environment's: nothing is added to it. */
  readonly targetsFixed: boolean;
}

/** One value that was found, under the proper name or an alias. */
interface Found {
  readonly key: string;
  readonly value: Uint8Array;
  readonly origin: string;
}

/**
 * Parses environment and rc file; the environment wins, key by key. Throws ConfigError on the first thing
 * that is wrong in either, also where the other one wins. No returned field shares memory with `raw`, so the caller may wipe that.
 */
export function readSettings(raw: RawSettings): Settings {
  const environment = [...raw.env].map(([key, value]) => ({ key, value, origin: 'environment' }));
  const rc = raw.rc === undefined ? { entries: [], sections: [] } : parseRc(raw.rc.path, raw.rc.text);
  const read = <T>(spec: KeySpec<T>, entries: readonly Found[] = rc.entries): T | undefined => {
    const [ours, theirs] = [readFrom(environment, spec), readFrom(entries, spec)];
    return ours ?? theirs;
  };
  const sections = rc.sections.map((section) => ({
    targets: parseHeader(section),
    origin: section.origin,
    secret: read(KEYS.secret, section.entries),
    protectedLength: read(KEYS.protectedLength, section.entries),
  }));
  checkSections(sections);
  return {
    secret: read(KEYS.secret),
    protectedLength: read(KEYS.protectedLength),
    replay: read(KEYS.replay),
    targets: read(KEYS.targets),
    logLevel: read(KEYS.logLevel),
    timeout: read(KEYS.timeout),
    sections,
    targetsFixed: environment.some(({ key }) => key === KEYS.targets.name),
  };
}

/** The settings as they are for a connection to one destination. */
export function settingsFor(settings: Settings, destination: Destination): Settings {
  const section = sectionFor(settings.sections, destination);
  if (section === undefined) return settings;
  return {
    ...settings,
    secret: section.secret ?? settings.secret,
    protectedLength: section.protectedLength ?? settings.protectedLength,
    targets: settings.targetsFixed ? settings.targets : section.targets,
  };
}

/** Every secret that is in settings, for whoever wipes them. */
export function secretsOf({ secret, sections }: Settings): Uint8Array[] {
  return [secret, ...sections.map((section) => section.secret)].flatMap((source) =>
    source?.kind === 'bytes' ? [source.bytes] : [],
  );
}

/** What stands in a header is not shown: it may be a piece of a secret that got there by mistake. */
function parseHeader({ header, origin }: RcSection): Targets {
  return parseTargets(header, (why) => {
    throw new ConfigError(`${origin}: the targets in brackets: ${why}; must be ${KEYS.targets.rule}`);
  });
}

function readFrom<T>(source: readonly Found[], spec: KeySpec<T>): T | undefined {
  const names = namesOf(spec);
  const found = source.filter(({ key }) => names.includes(key));
  const values = found.map((one) => parse(spec, one));
  const differs = values.findIndex((value) => value !== values[0]);
  const [first, other] = [found[0], found[differs]];
  if (first !== undefined && other !== undefined) {
    throw new ConfigError(
      `${describe(spec, first)} and ${describe(spec, other)} are the same setting and differ; keep one`,
    );
  }
  return values[0];
}

function parse<T>(spec: KeySpec<T>, found: Found): T {
  const refuse: Refuse = (why) => {
    throw new ConfigError(`${describe(spec, found)}: ${why}; must be ${spec.rule}`);
  };
  if (found.value.length === 0) refuse('it is empty');
  return spec.parse(found.value, refuse, found.origin);
}

function describe(spec: KeySpec<unknown>, { key, value, origin }: Found): string {
  return spec.confidential ? `${key} (${origin})` : `${key}=${shown(value)} (${origin})`;
}
