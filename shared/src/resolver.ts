import { lookup as systemLookup, Resolver, type LookupAddress, type LookupAllOptions } from 'node:dns';
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';

export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** The timeout of one query to one name server, and the number of tries. */
const query = { timeout: 2_000, tries: 2 };
/** How long to wait for IPv6 addresses after IPv4 addresses have arrived. */
const graceMs = 200;
/** Changed system files are noticed after this time. */
const rereadMs = 5_000;

interface SystemFiles {
  hosts: ReadonlyMap<string, readonly LookupAddress[]>;
  search: readonly string[];
  ndots: number;
  resolver: Resolver;
}

/**
 * Creates the function that turns names from outside into addresses. Node's own `dns.lookup` occupies a thread for as long as a name
 * server does not answer, and two such threads serve the whole process: a few names with an unresponsive server would block every other
 * lookup, including the database's. This one queries through sockets, with a time limit.
 *
 * Like the system's resolver it reads the hosts file first, and honours the name servers, `search` and `ndots` of `resolv.conf`.
 * On systems other than Linux names may come from elsewhere; there it is `dns.lookup`.
 */
export function createResolver({
  hostsFile = '/etc/hosts',
  resolvFile = '/etc/resolv.conf',
  servers,
}: {
  hostsFile?: string;
  resolvFile?: string;
  /** Replaces the name servers of the system. */
  servers?: readonly string[];
} = {}): Resolve {
  if (process.platform !== 'linux') return systemLookup as Resolve;
  let files: Promise<SystemFiles> | null = null;
  let stamp = '';
  let readAt = -Infinity;

  async function currentFiles(): Promise<SystemFiles> {
    if (files && performance.now() - readAt < rereadMs) return files;
    readAt = performance.now();
    const times = await Promise.all(
      [hostsFile, resolvFile].map((file) =>
        stat(file).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        ),
      ),
    );
    if (!files || times.join() !== stamp) files = readFiles(hostsFile, resolvFile, servers);
    stamp = times.join();
    return files;
  }

  return (hostname, options, callback) => {
    currentFiles()
      .then((system) => addressesOf(system, hostname.toLowerCase().replace(/\.$/, ''), hostname.endsWith('.')))
      .then((found) =>
        found.filter(({ family }) => !options.family || `IPv${family}` === `IPv${String(options.family).replace('IPv', '')}`),
      )
      .then((found) => {
        if (found.length === 0) throw failure('ENOTFOUND', hostname);
        return found;
      })
      .then(
        (found) => callback(null, found),
        (error: NodeJS.ErrnoException) => callback(error, []),
      );
  };
}

async function readFiles(hostsFile: string, resolvFile: string, servers: readonly string[] | undefined): Promise<SystemFiles> {
  const [hostsText, resolvText] = await Promise.all(
    [hostsFile, resolvFile].map((file) => readFile(file, 'utf8').catch(() => '')),
  );
  const resolver = new Resolver(query);
  if (servers) resolver.setServers(servers);
  const lines = resolvText!.split('\n').map((line) => line.trim().split(/\s+/));
  const search = lines.findLast(([word]) => word === 'search' || word === 'domain')?.slice(1) ?? [];
  const ndots = lines
    .flatMap(([word, ...options]) => (word === 'options' ? options : []))
    .findLast((option) => /^ndots:\d+$/.test(option));
  return { hosts: parseHosts(hostsText!), search, ndots: ndots ? Number(ndots.slice('ndots:'.length)) : 1, resolver };
}

function parseHosts(text: string): Map<string, LookupAddress[]> {
  const hosts = new Map<string, LookupAddress[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const family = isIP(address);
    if (family !== 0)
      for (const name of names) hosts.set(name.toLowerCase(), [...(hosts.get(name.toLowerCase()) ?? []), { address, family }]);
  }
  return hosts;
}

async function addressesOf(
  { hosts, search, ndots, resolver }: SystemFiles,
  name: string,
  isAbsolute: boolean,
): Promise<readonly LookupAddress[]> {
  const known = hosts.get(name);
  if (known) return known;
  if (name === 'localhost' || name.endsWith('.localhost'))
    return [
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ];
  const longer = isAbsolute ? [] : search.map((domain) => `${name}.${domain}`);
  const candidates = name.split('.').length > ndots ? [name, ...longer] : [...longer, name];
  let last: unknown = failure('ENOTFOUND', name);
  for (const candidate of candidates)
    try {
      return await ask(resolver, candidate);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      last = error;
      // Only the answer that the name does not exist leads to the next candidate.
      if (code !== 'ENOTFOUND' && code !== 'ENODATA') break;
    }
  throw last;
}

/** Asks for addresses of both families. Rejects when there is no address. */
function ask(resolver: Resolver, name: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    const found: LookupAddress[] = [];
    let open = 2;
    let failed: NodeJS.ErrnoException | null = null;
    let grace: NodeJS.Timeout | undefined;
    const finish = (): void => {
      clearTimeout(grace);
      if (found.length > 0) resolve(found.sort((one, other) => one.family - other.family));
      else reject(failed ?? failure('ENOTFOUND', name));
    };
    const collect =
      (family: 4 | 6) =>
      (error: NodeJS.ErrnoException | null, addresses: string[] | undefined): void => {
        open -= 1;
        // An error of the server is more informative than the absence of addresses of one family.
        if (error && (!failed || (error.code !== 'ENODATA' && error.code !== 'ENOTFOUND'))) failed = error;
        for (const address of addresses ?? []) found.push({ address, family });
        if (open === 0) finish();
        else if (family === 4 && found.length > 0) grace = setTimeout(finish, graceMs);
      };
    resolver.resolve4(name, collect(4));
    resolver.resolve6(name, collect(6));
  });
}

const failure = (code: string, hostname: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`No address of ${hostname} was found.`), { code, syscall: 'getaddrinfo' });
