import { pipeline } from 'node:stream';
import type { Request, Response, Router } from 'express';
import { signedIn } from './guard.js';
import type { PanelVerbs } from './verbs.js';

/** What a browser may draw or play by itself. Everything else, SVG and HTML above all, is only ever saved. */
const harmless = /^(image\/(png|jpeg|webp|gif)|audio\/(ogg|mpeg|mp4|aac|amr|wav|webm)|video\/(mp4|webm|3gpp))(;|$)/;

/** A message's file, for who is signed in. It comes from strangers, so it is boxed in: no type of its own choosing, no script, no origin. */
export function mountMedia(router: Router, media: PanelVerbs['media']): void {
  router.get('/live/media/:id', (req, res, next) => {
    sendFile(media, req, res).catch(next);
  });
}

async function sendFile(media: PanelVerbs['media'], req: Request, res: Response): Promise<void> {
  const file = await media.open(signedIn(req).caller, String(req.params['id']));
  const shown = harmless.test(file.mimetype);
  res.set({
    'Content-Type': shown ? file.mimetype : 'application/octet-stream',
    'Content-Security-Policy': `default-src 'none'; sandbox; frame-ancestors 'none'`,
    'Cache-Control': 'private, no-store',
  });
  if (!shown || 'download' in req.query) res.attachment(file.filename ?? 'file');
  if (!shown) res.set('Content-Type', 'application/octet-stream');
  if (file.size !== null) res.set('Content-Length', String(file.size));
  await new Promise<void>((resolve, reject) => {
    pipeline(file.stream, res, (error) => {
      // The person looked elsewhere; nobody waits for the rest.
      if (error && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') reject(error);
      else resolve();
    });
  });
}
