import { deflateSync } from 'node:zlib';

/** A picture of 320 by 200: a till receipt of no shop. PNG by hand: signature, IHDR, IDAT, IEND. */
const picture = { width: 320, height: 200 };
export const png = drawReceipt();
function drawReceipt(): Buffer {
  const { width, height } = picture;
  const line = (y: number): Buffer => {
    const isText = y > 24 && y < 170 && y % 18 < 8;
    const end = 60 + (((y - (y % 18)) * 37) % 170);
    return Buffer.from([
      0,
      ...Array.from({ length: width }, (_, x) => (isText && x > 34 && x < end ? 70 : x < 12 || x > 308 ? 214 : 248)),
    ]);
  };
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([size, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, (_, y) => line(y))));
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]);
}
function crc32(bytes: Buffer): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return (value ^ 0xffffffff) >>> 0;
}
