import { AppError } from '@chasqui/shared';
import type { Request, Response, Router } from 'express';
import type { DataSource } from 'typeorm';
import { MediaFile } from '../media/media-file.entity.js';
import { requireVisitor } from './guard.js';
import type { PanelVerbs } from './verbs.js';

/** The types that a browser may show or play. Everything else, SVG and HTML above all, is only downloaded. */
const inlineTypes = /^(image\/(png|jpeg|webp|gif)|audio\/(ogg|mpeg|mp4|aac|amr|wav|webm)|video\/(mp4|webm|3gpp))(;|$)/;

/**
 * Mounts the routes of a message's file and of its thumbnail. Strangers send these files, so only the types of `inlineTypes` reach the browser as they
 * are. A thumbnail is always a JPEG or a PNG.
 */
export function mountMedia(router: Router, parts: { reader: DataSource; media: PanelVerbs['media'] }): void {
  router.get('/live/media/:id', (req, res, next) => {
    sendFile(parts, req, res).catch(next);
  });
  router.get('/live/thumbnails/:messageId', (req, res, next) => {
    sendThumbnail(parts, req, res).catch(next);
  });
}

async function sendFile(
  { reader, media }: { reader: DataSource; media: PanelVerbs['media'] },
  req: Request,
  res: Response,
): Promise<void> {
  requireVisitor(req);
  const file = await reader.getRepository(MediaFile).findOneBy({ id: String(req.params['id']) });
  if (!file) throw new AppError('MEDIA_NOT_FOUND');
  await media.send(
    res,
    inlineTypes.test(file.mimetype) ? file : { ...file, mimetype: 'application/octet-stream' },
    req.get('range'),
  );
}

async function sendThumbnail({ media }: { media: PanelVerbs['media'] }, req: Request, res: Response): Promise<void> {
  requireVisitor(req);
  await media.sendThumbnail(res, String(req.params['messageId']));
}
