import { lookup as dnsLookup, type LookupAddress, type LookupAllOptions } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { AppError } from '@chasqui/shared';

/**
 * The egress guard: the one way to fetch what a caller names. http and https only, no credentials in the URL, no redirects, no
 * address that is not public, in whatever spelling, as literal, by name or at the moment of connecting: the resolver that the
 * socket itself uses hands out checked addresses alone, so a name that changes its mind between check and connection gains nothing.
 */
export interface SafeFetch {
  /** Throws `URL_NOT_ALLOWED`, `MEDIA_URL_FAILED` (`details.statusCode`), `FILE_TOO_LARGE`. */
  (
    url: string,
    limits: { maxBytes: number; timeoutMs: number },
  ): Promise<{ bytes: Buffer; mimetype: string | null; filename: string | null }>;
}

type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

// IANA's special-purpose registries: nothing of these is the public internet.
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

export function createSafeFetch({
  allow,
  resolve: resolveName = dnsLookup as Resolve,
}: {
  allow: readonly string[];
  /** Who turns names into addresses; tests answer as a hostile name server would. */
  resolve?: Resolve;
}): SafeFetch {
  const opened = new BlockList();
  for (const network of allow) {
    const [address = '', bits] = network.split('/');
    const family = isIP(address);
    if (family === 0) throw new Error(`EGRESS_ALLOW holds ${network}, which is no network such as 10.0.0.0/8.`);
    opened.addSubnet(address, Number(bits ?? (family === 4 ? 32 : 128)), family === 4 ? 'ipv4' : 'ipv6');
  }
  const permitted = (address: string): boolean =>
    isPublicAddress(address) || (isIP(address) !== 0 && opened.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6'));

  const checkedLookup: LookupFunction = (hostname, options, callback) => {
    resolveName(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      if (addresses.length === 0 || !addresses.every(({ address }) => permitted(address)))
        return callback(new AppError('URL_NOT_ALLOWED') as NodeJS.ErrnoException, '', 0);
      if (options.all) return callback(null, addresses);
      callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };

  function check(text: string): URL {
    let url: URL;
    try {
      url = new URL(text);
    } catch {
      throw new AppError('URL_NOT_ALLOWED', {}, 'This is not a URL.');
    }
    // The parser has turned 0x7f.1, 2130706433 and the like into plain dotted form by now.
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const literal = isIP(host) !== 0;
    if (!['http:', 'https:'].includes(url.protocol) || url.username || url.password || (literal && !permitted(host)))
      throw new AppError('URL_NOT_ALLOWED');
    return url;
  }

  return (text, { maxBytes, timeoutMs }) =>
    new Promise((resolve, reject) => {
      const url = check(text);
      const fail = (error: unknown): void =>
        reject(
          error instanceof AppError
            ? error
            : new AppError('MEDIA_URL_FAILED', { cause: (error as NodeJS.ErrnoException).code ?? 'FAILED' }),
        );
      const client = url.protocol === 'https:' ? https : http;
      const request = client.get(
        url,
        {
          lookup: checkedLookup,
          agent: false,
          signal: AbortSignal.timeout(timeoutMs),
          headers: { 'user-agent': 'Chasqui', accept: '*/*' },
        },
        (response) => {
          const { statusCode = 0, headers } = response;
          const declared = Number(headers['content-length'] ?? 0);
          if (statusCode !== 200) return void request.destroy(new AppError('MEDIA_URL_FAILED', { statusCode }));
          if (declared > maxBytes) return void request.destroy(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
          const chunks: Buffer[] = [];
          let size = 0;
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size > maxBytes) return void request.destroy(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
            chunks.push(chunk);
          });
          response.on('end', () =>
            resolve({
              bytes: Buffer.concat(chunks),
              mimetype: headers['content-type']?.split(';')[0]?.trim() ?? null,
              filename: decodeURIComponentOr(url.pathname.split('/').at(-1) ?? '') || null,
            }),
          );
          response.on('error', fail);
        },
      );
      request.on('socket', (socket) => {
        socket.on('connect', () => {
          // The last line: whatever went on before, the other end of this connection must be a permitted one.
          if (!permitted(socket.remoteAddress ?? '')) request.destroy(new AppError('URL_NOT_ALLOWED'));
        });
      });
      request.on('error', fail);
    });
}

function decodeURIComponentOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
