import React from 'react';
import { useCurrentAdmin, useResource, useTranslation } from 'adminjs';
import { useParams } from 'react-router-dom';
import { root, viewerOf } from '../api.js';
import NotFound from './NotFound.js';
import { newPages } from './pages.js';

/** The list of a table, or its form for a new record. AdminJS finds it by this name, and gives its own component. */
const ResourceActionRoute: React.FC<{ OriginalComponent: React.ComponentType }> = ({ OriginalComponent }) => {
  const { resourceId = '', actionName = '' } = useParams();
  const [admin] = useCurrentAdmin();
  const resource = useResource(resourceId);
  const { translateLabel } = useTranslation();
  if (resource?.resourceActions.some(({ name }) => name === actionName)) return <OriginalComponent />;
  const back = resource && { to: `${root}/resources/${resourceId}`, label: translateLabel(resource.name, resourceId) };
  const form = newPages.find(([path]) => path === `/resources/${resourceId}/actions/${actionName}`);
  if (!form) return <NotFound title="There is no such page" text="The address may be old." back={back} />;
  const role = viewerOf(admin)?.role ?? 'staff';
  const text = `This needs the role admin, and yours is ${role}. Ask an admin to do it, or to change your role.`;
  return <NotFound title={form[1]} text={text} back={back} />;
};
export default ResourceActionRoute;
