import type { ClientRequest } from 'node:http';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { AppError } from './errors.js';
import { createResolver, type Resolve } from './resolver.js';

// IANA's special-purpose registries: none of these networks is part of the public internet.
const closed = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  closed.addSubnet(network, bits, 'ipv4');
// Everything outside 2000::/3 is closed below; inside it these: documentation, Teredo, 6to4, ORCHID.
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  closed.addSubnet(network, bits, 'ipv6');
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');

export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !closed.check(address, 'ipv4');
  // Mapped (::ffff:…) and NAT64 (64:ff9b::…) addresses lie outside 2000::/3 and are refused with the rest.
  return family === 6 && globalUnicast.check(address, 'ipv6') && !closed.check(address, 'ipv6');
}

/**
 * Ports that belong to other protocols: the "bad ports" of the Fetch standard (https://fetch.spec.whatwg.org/#port-blocking). A POST to
 * one of them could be read as commands by a mail server or the like.
 */
const badPorts: ReadonlySet<string> = new Set(
  `0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137 139 143 161
  179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190
  5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080`.split(/\s+/),
);

/**
 * The egress guard, which checks every request to an address that a caller named. http and https only, no credentials in the URL, no
 * port of another protocol, no address that is not public, in whatever spelling, as literal, by name or at the moment of connecting: the resolver
 * that the socket itself uses returns only checked addresses, so a name whose address changes between check and connection gains nothing.
 */
export interface Egress {
  /** Parses a URL. Throws `URL_NOT_ALLOWED`. Does not check names, which are resolved when the connection is made. */
  check(text: string): URL;
  /**
   * Checks the host and port of a server that is no web server, such as a proxy. Throws `URL_NOT_ALLOWED` for a literal address and a port as
   * `check` does, and for names of this machine. Other names are resolved when the connection is made.
   */
  checkHost(host: string, port: number): void;
  /** Returns whether the operator allows the network of this literal address. */
  isOpenedHost(host: string): boolean;
  /** The lookup function of the request. Returns only permitted addresses. */
  lookup: LookupFunction;
  /** The last defence: destroys the request when the remote address of its connection is not permitted. */
  watch(request: ClientRequest): void;
}

export interface EgressOptions {
  /** Networks such as `10.0.0.0/8` that are allowed although they are not public. Throws when an entry is not a network. */
  allow: readonly string[];
  /** Resolves names to addresses; tests answer as a hostile name server would. */
  resolve?: Resolve;
}

export function createEgress({ allow, resolve = createResolver() }: EgressOptions): Egress {
  const opened = networksOf(allow);
  return {
    check: (text) => checkUrl(opened, text),
    checkHost: (host, port) => checkHost(opened, host, port),
    isOpenedHost: (host) => isIn(opened, withoutBrackets(host)),
    lookup: (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, addresses) => {
        if (error) return callback(error, '', 0);
        if (addresses.length === 0 || !addresses.every(({ address }) => isPermitted(opened, address)))
          return callback(new AppError('URL_NOT_ALLOWED') as NodeJS.ErrnoException, '', 0);
        if (options.all) return callback(null, addresses);
        callback(null, addresses[0]!.address, addresses[0]!.family);
      });
    },
    watch(request) {
      request.on('socket', (socket) => {
        const checkRemote = (): void => {
          if (!isPermitted(opened, socket.remoteAddress ?? '')) request.destroy(new AppError('URL_NOT_ALLOWED'));
        };
        if (socket.connecting) socket.once('connect', checkRemote);
        else checkRemote();
      });
    },
  };
}

function networksOf(allow: readonly string[]): BlockList {
  const networks = new BlockList();
  for (const network of allow) {
    const [address = '', bits] = network.split('/');
    const family = isIP(address);
    if (family === 0) throw new Error(`EGRESS_ALLOW contains ${network}, which is not a network such as 10.0.0.0/8.`);
    networks.addSubnet(address, Number(bits ?? (family === 4 ? 32 : 128)), family === 4 ? 'ipv4' : 'ipv6');
  }
  return networks;
}

const isIn = (networks: BlockList, address: string): boolean =>
  isIP(address) !== 0 && networks.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
const isPermitted = (opened: BlockList, address: string): boolean => isPublicAddress(address) || isIn(opened, address);
const withoutBrackets = (host: string): string => host.replace(/^\[|\]$/g, '');

function checkUrl(opened: BlockList, text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new AppError('URL_NOT_ALLOWED', {}, 'This is not a URL.');
  }
  // The parser has converted 0x7f.1, 2130706433 and the like to the dotted form.
  const host = withoutBrackets(url.hostname);
  if (!['http:', 'https:'].includes(url.protocol) || url.username || url.password) throw new AppError('URL_NOT_ALLOWED');
  if (isIP(host) !== 0 && !isPermitted(opened, host)) throw new AppError('URL_NOT_ALLOWED');
  checkPort(opened, host, url.port);
  return url;
}

function checkHost(opened: BlockList, given: string, port: number): void {
  const host = withoutBrackets(given).toLowerCase().replace(/\.$/, '');
  const address = host === 'localhost' || host.endsWith('.localhost') ? '127.0.0.1' : host;
  if (isIP(address) !== 0 && !isPermitted(opened, address))
    throw new AppError(
      'URL_NOT_ALLOWED',
      {},
      'This address is not allowed: public addresses only. The operator can allow a network with EGRESS_ALLOW.',
    );
  checkPort(opened, address, String(port));
}

function checkPort(opened: BlockList, host: string, port: string): void {
  if (badPorts.has(port) && !isIn(opened, host))
    throw new AppError(
      'URL_NOT_ALLOWED',
      { port: Number(port) },
      `Port ${port} belongs to another protocol. Use another port, or an address whose network the operator allows with EGRESS_ALLOW.`,
    );
}
