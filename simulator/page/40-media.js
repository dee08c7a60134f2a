// Files: prepared, uploaded and downloaded byte for byte. Nothing is encrypted here; hashes are real.
const base64 = (buffer) => btoa(binary(new Uint8Array(buffer)));
const hashOf = async (blob) => base64(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));

async function fetchMedia(directPath) {
  const answer = await fetch(directPath);
  if (!answer.ok) throw new r('media is gone', answer.status);
  return answer.arrayBuffer();
}
async function upload(blob) {
  const answer = await fetch('/mms/upload', { method: 'POST', body: blob });
  if (!answer.ok) throw new r('upload refused', answer.status);
  return answer.json();
}

class OpaqueData {
  #url = null;
  constructor(blob, type) {
    this.blob = blob;
    this.type = type;
  }
  static async createFromData(blob, type) {
    return new OpaqueData(blob, type);
  }
  url() {
    return (this.#url ??= URL.createObjectURL(this.blob));
  }
  /** An object URL that is not revoked keeps the whole file in memory. */
  autorelease() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
  formData() {
    return this.blob;
  }
  forceToBlob() {
    return this.blob;
  }
  size() {
    return this.blob.size;
  }
}
__d('WAWebMediaOpaqueData', () => OpaqueData);

function kindOf(mimetype, { asSticker, isPtt, asDocument, asGif }) {
  if (asDocument) return { type: 'document' };
  if (asSticker) return { type: 'sticker' };
  if (mimetype.startsWith('image/')) return { type: 'image' };
  if (mimetype.startsWith('video/')) return { type: 'video', isGif: Boolean(asGif) };
  if (mimetype.startsWith('audio/')) return { type: isPtt ? 'ptt' : 'audio' };
  return { type: 'document' };
}

class MediaData extends Model {
  toJSON() {
    const { mediaBlob: _, renderableUrl: __, ...rest } = this.serialize();
    // Since 2026-09-17 the model has an enumerable `__x_id`, which replaces the message's id when both are spread into one object.
    return newest ? { ...rest, __x_id: undefined } : rest;
  }
}

const previewSide = 100;
/** The small JPEG of a picture, in base64. A message has it in `body`. Undefined for other files, and for what is no picture. */
async function previewOf(blob, type) {
  if (type !== 'image') return undefined;
  try {
    const bitmap = await createImageBitmap(blob);
    const scale = Math.min(1, previewSide / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.max(1, bitmap.width * scale), Math.max(1, bitmap.height * scale));
    canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return base64(await (await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.5 })).arrayBuffer());
  } catch {
    return undefined; // The bytes are no picture.
  }
}

__d('WAWebPrepRawMedia', () => ({
  prepRawMedia: (opaque, params) => ({
    async waitForPrep() {
      const mimetype = String(opaque.type ?? opaque.blob.type);
      const data = new MediaData({
        ...kindOf(mimetype, params),
        mimetype,
        filehash: await hashOf(opaque.blob),
        size: opaque.blob.size,
        filename: params.asDocument || kindOf(mimetype, params).type === 'document' ? opaque.blob.name : undefined,
        // The size to which WhatsApp scales a picture. Phones do not see it; tests do.
        maxDimension: params.maxDimension,
        mediaStage: 'PREPARED',
        mediaBlob: opaque,
      });
      if (newest) data.__x_id = undefined;
      // Not enumerable: a message has it in its body alone.
      Object.defineProperty(data, 'preview', { value: await previewOf(opaque.blob, data.type) });
      return data;
    },
  }),
}));
const objects = new Map();
__d('WAWebMediaStorage', () => ({
  getOrCreateMediaObject(filehash) {
    if (!objects.has(filehash)) {
      objects.set(filehash, {
        filehash,
        contentInfo: {},
        type: undefined,
        size: undefined,
        consolidate(data) {
          Object.assign(this, { type: data.type, size: data.size, mimetype: data.mimetype });
        },
      });
    }
    return objects.get(filehash);
  },
}));
__d('WAWebMmsMediaTypes', () => ({ msgToMediaType: ({ type }) => type, castToV4: (type) => type }));
__d('WAWebMediaDataUtils', () => ({ shouldUseMediaCache: () => true }));
const cache = new Map();
__d('WAWebMediaInMemoryBlobCache', () => ({
  InMemoryMediaBlobCache: { put: (hash, blob) => cache.set(hash, blob), get: (hash) => cache.get(hash) },
}));
__d('WAMediaCalculateFilehash', () => ({ getRandomFilehash: async () => base64(crypto.getRandomValues(new Uint8Array(32))) }));
__d('WAWebMediaMmsV4Upload', () => ({
  async uploadMedia({ mediaObject }) {
    const blob = cache.get(mediaObject.filehash);
    cache.delete(mediaObject.filehash);
    const { directPath } = await upload(blob);
    return {
      mediaEntry: {
        mmsUrl: `https://mmg.whatsapp.net${directPath}`,
        deprecatedMms3Url: `https://mmg.whatsapp.net${directPath}`,
        directPath,
        mediaKey: 'simulated',
        mediaKeyTimestamp: Math.floor(Date.now() / 1000),
        encFilehash: mediaObject.filehash,
        uploadHash: mediaObject.filehash,
      },
    };
  },
  async uploadUnencryptedMedia({ mediaObject }) {
    const blob = cache.get(mediaObject.filehash);
    cache.delete(mediaObject.filehash);
    const { directPath, handle } = await upload(blob);
    return {
      mediaEntry: {
        mmsUrl: `https://mmg.whatsapp.net${directPath}`,
        deprecatedMms3Url: `https://mmg.whatsapp.net${directPath}`,
        directPath,
        uploadHash: mediaObject.filehash,
        handle,
      },
    };
  },
}));
__d('WAWebUploadManager', () => ({
  async encryptAndUpload({ blob }) {
    const { directPath } = await upload(blob);
    return {
      url: `https://mmg.whatsapp.net${directPath}`,
      directPath,
      mediaKey: 'simulated',
      mediaKeyTimestamp: Math.floor(Date.now() / 1000),
      encFilehash: await hashOf(blob),
      mimetype: blob.type,
    };
  },
}));
__d('WAWebStartMediaUploadQpl', () => ({ startMediaUploadQpl: () => ({}) }));
__d('WAWebImageUtils', () => ({
  async toWebpSticker(file) {
    const bitmap = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(512, 512);
    canvas.getContext('2d').drawImage(bitmap, 0, 0, 512, 512);
    return canvas.convertToBlob({ type: 'image/webp' });
  },
}));
__d('WAWebDownloadManager', () => ({
  downloadManager: {
    async downloadAndMaybeDecrypt({ directPath, mimetype }) {
      if (newest && !mimetype) throw new r('mimetype is required', 400);
      return fetchMedia(directPath);
    },
  },
}));
