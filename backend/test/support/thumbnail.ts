/** A JPEG of 16 × 16 pixels, as WhatsApp sends it along with a picture, in base64. */
export const thumbnail =
  '/9j/4AAQSkZJRgABAgAAAQABAAD//gAQTGF2YzU5LjM3LjEwMAD/2wBDAAgoKC8oLzc3Nzc3N0E8QUNDQ0FBQUFDQ0NISEhVVVVISEhDQ0hIUFBVVVxfXFdXVVdfX2RkZHh4c3OMjJGsrM//xABMAAEBAAAAAAAAAAAAAAAAAAAABgEBAQAAAAAAAAAAAAAAAAAABgcQAQAAAAAAAAAAAAAAAAAAAAARAQAAAAAAAAAAAAAAAAAAAAD/wAARCAAQABADASIAAhEAAxEA/9oADAMBAAIRAxEAPwCtAR06f//Z';

/** A JPEG by its first bytes, with a text that can be searched for. */
export const thumbnailWith = (mark: string): string =>
  Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.from(mark.padEnd(Math.ceil(mark.length / 3) * 3))]).toString('base64');
