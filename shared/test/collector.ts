import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A collector of OpenTelemetry traces (OTLP over HTTP, as JSON) that answers as it is told and stores what it received. */

export interface ReceivedSpan {
  service: string;
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId: string | undefined;
  links: { traceId: string; spanId: string }[];
  attributes: Record<string, unknown>;
}

/** `hang`: never answers. `garbage`: 200 with a body that is no JSON. A number: that status. */
export type CollectorAnswer = 'ok' | 'hang' | 'garbage' | number;

export type Collector = Awaited<ReturnType<typeof startCollector>>;

interface Value {
  stringValue?: string;
  intValue?: string | number;
  boolValue?: boolean;
}
type Attributes = { key: string; value: Value }[];
interface Body {
  resourceSpans: {
    resource: { attributes: Attributes };
    scopeSpans: {
      spans: (Omit<ReceivedSpan, 'attributes' | 'links'> & { attributes?: Attributes; links?: ReceivedSpan['links'] })[];
    }[];
  }[];
}

export async function startCollector(answer: CollectorAnswer = 'ok') {
  const collector = {
    answer,
    url: '',
    spans: [] as ReceivedSpan[],
    /** The requests as they came, with their headers. */
    requests: [] as { path: string; headers: IncomingMessage['headers']; body: string }[],
    named: (name: string): ReceivedSpan[] => collector.spans.filter((span) => span.name === name),
    close: async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((req, res) => {
    let body = '';
    req.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    req.on('end', () => {
      collector.requests.push({ path: req.url!, headers: req.headers, body });
      reply(collector, body, res);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  collector.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return collector;
}

function reply(collector: { answer: CollectorAnswer; spans: ReceivedSpan[] }, body: string, res: ServerResponse): void {
  const { answer } = collector;
  if (answer === 'hang') return;
  if (answer === 'garbage') return void res.writeHead(200, { 'content-type': 'application/json' }).end('<html>not JSON');
  if (answer !== 'ok') return void res.writeHead(answer).end('not now');
  collector.spans.push(...spansOf(JSON.parse(body) as Body));
  res.writeHead(200, { 'content-type': 'application/json' }).end('{}');
}

const spansOf = ({ resourceSpans }: Body): ReceivedSpan[] =>
  resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ name, kind, traceId, spanId, parentSpanId, links = [], attributes = [] }) => ({
        service: String(valuesOf(resource.attributes)['service.name']),
        name,
        kind,
        traceId,
        spanId,
        parentSpanId,
        links: links.map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
        attributes: valuesOf(attributes),
      })),
    ),
  );

const valuesOf = (attributes: Attributes): Record<string, unknown> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.boolValue ?? (value.intValue === undefined ? value : Number(value.intValue)),
    ]),
  );
