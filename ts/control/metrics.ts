import type { GuardedListener } from '../engine/engine.ts';
import { describePeer } from './sockaddr.ts';
import type { Telling } from './telling.ts';

/**
 * Figures in the text format that Prometheus reads (version 0.0.4). Written here and not by a library: it is a page of
 * text, and prom-client would bring two further packages and five megabytes into a process with privileges.
 */

interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: readonly Sample[];
}

interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

function labelText(labels: Readonly<Record<string, string>>): string {
  const escaped = (value: string) =>
    value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',');
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.map(({ labels, value }) =>
    labels === undefined ? `${name} ${value}` : `${name}{${labelText(labels)}} ${value}`,
  );
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines, ''].join('\n');
}

/** Sockets that share address, port and program, of a SO_REUSEPORT group for instance, count as one. */
function synSamples(listeners: readonly GuardedListener[]): Sample[] {
  const sums = new Map<string, { labels: Record<string, string>; value: number }>();
  for (const listener of listeners) {
    const { guardian, syns } = listener;
    if (syns === undefined) continue;
    for (const verdict of ['authorised', 'rejected'] as const) {
      const labels = { listener: describePeer(listener), program: guardian.program, verdict };
      const key = labelText(labels);
      const value = (sums.get(key)?.value ?? 0) + syns[verdict];
      sums.set(key, { labels, value });
    }
  }
  return [...sums.values()];
}

function gauge(name: string, help: string, value: number): Metric {
  return { name, type: 'gauge', help, samples: [{ value }] };
}

function counter(name: string, help: string, value: number): Metric {
  return { name, type: 'counter', help, samples: [{ value }] };
}

/** All that there is to say, of all users. */
export function metricsText(telling: Telling): string {
  const listeners = telling.listeners();
  const { delayed, connecting } = telling.connects();
  const metrics: Metric[] = [
    {
      name: 'knockify_syns_total',
      type: 'counter',
      help: 'SYNs to a guarded listener, by what its guard said of them.',
      samples: synSamples(listeners),
    },
    gauge('knockify_listeners', 'Guarded listeners.', listeners.length),
    {
      name: 'knockify_connects',
      type: 'gauge',
      help: 'Connects that wait for their first bytes (delayed) or whose SYN with its token is on its way (armed).',
      samples: [
        { labels: { state: 'armed' }, value: connecting },
        { labels: { state: 'delayed' }, value: delayed },
      ],
    },
    gauge('knockify_sessions', 'Clients that the control process serves now.', telling.sessions()),
    counter('knockify_errors_total', 'Errors that the control process logged.', telling.errorCount),
    counter(
      'knockify_events_suppressed_total',
      'Verdicts that followers were not told of, because there were too many.',
      telling.suppressed(),
    ),
    gauge(
      'process_resident_memory_bytes',
      'Resident memory of the control process.',
      process.memoryUsage.rss(),
    ),
    gauge('process_start_time_seconds', 'When the control process started.', telling.startedAt / 1000),
  ];
  return metrics.map(metricText).join('');
}
