import { AppError } from '@chasqui/shared';
import type { Request, Response, Router } from 'express';
import type { DataSource } from 'typeorm';
import { MediaFile } from '../media/media-file.entity.js';
import { signedIn } from './guard.js';
import type { PanelVerbs } from './verbs.js';

/** What a browser may draw or play by itself. Everything else, SVG and HTML above all, is only ever saved. */
const harmless = /^(image\/(png|jpeg|webp|gif)|audio\/(ogg|mpeg|mp4|aac|amr|wav|webm)|video\/(mp4|webm|3gpp))(;|$)/;

/** A message's file, for who is signed in. It comes from strangers: no type of its own choosing reaches the browser. */
export function mountMedia(router: Router, parts: { reader: DataSource; media: PanelVerbs['media'] }): void {
  router.get('/live/media/:id', (req, res, next) => {
    sendFile(parts, req, res).catch(next);
  });
}

async function sendFile(
  { reader, media }: { reader: DataSource; media: PanelVerbs['media'] },
  req: Request,
  res: Response,
): Promise<void> {
  signedIn(req);
  const file = await reader.getRepository(MediaFile).findOneBy({ id: String(req.params['id']) });
  if (!file) throw new AppError('MEDIA_NOT_FOUND');
  await media.send(
    res,
    harmless.test(file.mimetype) ? file : { ...file, mimetype: 'application/octet-stream' },
    req.get('range'),
  );
}
