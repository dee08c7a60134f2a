import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import { root } from '../api.js';
import { size } from '../words.js';

type Media = NonNullable<MessageView['media']>;
const shownTypes = /^image\/(png|jpeg|webp|gif)$/;

/**
 * The file of a message: shown or played where that is safe, and always with a link to download it. Its thumbnail is shown in its place as long as the
 * file itself is not here, and for files that a browser does not show.
 */
const MediaPreview: React.FC<{ messageId: string; media: Media; alt: string }> = ({ messageId, media, alt }) => {
  const thumbnail = media.hasThumbnail ? `${root}/live/thumbnails/${messageId}` : undefined;
  const small = thumbnail && <img data-testid="thumbnail" src={thumbnail} alt={alt} loading="lazy" />;
  if (media.state !== 'stored')
    return (
      <figure className="cq-media">
        {small}
        <figcaption className="cq-soft">
          {media.state === 'pending' ? 'The file is being fetched.' : (media.reason ?? 'The file is no longer available.')}
        </figcaption>
      </figure>
    );
  const source = `${root}/live/media/${media.id}`;
  const isPicture = shownTypes.test(media.mimetype);
  const isVideo = media.mimetype.startsWith('video/');
  return (
    <figure className="cq-media">
      {isPicture && <img src={source} alt={alt} loading="lazy" />}
      {media.mimetype.startsWith('audio/') && <audio controls preload="none" src={source} />}
      {isVideo && <video controls preload="none" poster={thumbnail} src={source} />}
      {!isPicture && !isVideo && small}
      <figcaption>
        <a href={source} download={media.filename ?? ''}>
          {media.filename ?? 'Download the file'}
        </a>{' '}
        {media.mimetype}
        {media.size !== null && `, ${size(media.size)}`}
      </figcaption>
    </figure>
  );
};
export default MediaPreview;
