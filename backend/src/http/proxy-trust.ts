import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import type { Express, RequestHandler } from 'express';

/**
 * Which peers may name the client with `X-Forwarded-For` (setting TRUST_PROXY): a number of proxies in front of the backend, or a list
 * of networks, addresses and host names. Names are for containers: their addresses change whenever they are recreated, and a direct caller of
 * a published port must not be trusted only because a proxy exists.
 */

/** A name without a known address is looked up at most once in this time, whatever callers send. */
const retryMs = 1_000;
/** The address of a recreated proxy may belong to another container afterwards. */
const cacheTtlMs = 30_000;
/** How long a request waits for a lookup. A name server that does not answer must not block requests. */
const waitMs = 500;

export interface ProxyTrustOptions {
  /** Resolves to all addresses of a name; rejects when it has none. */
  resolveName?: (name: string) => Promise<readonly string[]>;
  /** A monotonic time in milliseconds. */
  now?: () => number;
}

/** Sets up `req.ip` of `app`. Mount the returned handler before everything that reads it. */
export function trustProxies(app: Express, setting: number | readonly string[], options: ProxyTrustOptions = {}): RequestHandler {
  if (typeof setting === 'number') {
    app.set('trust proxy', setting);
    return (_req, _res, next) => next();
  }
  const { resolveName = addressesOf, now = () => performance.now() } = options;
  const { networks, names } = sorted(setting);
  let byName = new BlockList();
  let lookedUpAt = -Infinity;
  let running: Promise<void> | null = null;

  const isTrusted = (address: string): boolean => contains(networks, address) || contains(byName, address);

  /** Looks up the names, one lookup at a time. A name without an address trusts no peer. */
  function refresh(): Promise<void> {
    running ??= Promise.allSettled(names.map(resolveName)).then((answers) => {
      const found = new BlockList();
      for (const answer of answers) if (answer.status === 'fulfilled') answer.value.forEach((address) => add(found, address));
      byName = found;
      lookedUpAt = now();
      running = null;
    });
    return running;
  }

  app.set('trust proxy', isTrusted);
  return (req, _res, next) => {
    if (names.length === 0 || req.headers['x-forwarded-for'] === undefined) return next();
    const age = now() - lookedUpAt;
    const peer = req.socket.remoteAddress ?? '';
    if (isTrusted(peer) ? age < cacheTtlMs : age < retryMs) return next();
    let isPassed = false;
    const pass = (): void => {
      clearTimeout(timer);
      if (!isPassed) next();
      isPassed = true;
    };
    const timer = setTimeout(pass, waitMs);
    void refresh().then(pass);
  };
}

async function addressesOf(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

function sorted(entries: readonly string[]): { networks: BlockList; names: string[] } {
  const networks = new BlockList();
  const names: string[] = [];
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    if (isIP(address) === 0) names.push(entry);
    else add(networks, address, bits);
  }
  return { networks, names };
}

function add(list: BlockList, address: string, bits?: string): void {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  list.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family);
}

/** A socket that listens on `::` shows IPv4 peers as `::ffff:10.0.0.1`. */
function contains(list: BlockList, address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  const family = isIP(plain);
  return family !== 0 && list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
}
