-- Rolls the same release out once more, on the other colour: another token is another incarnation.

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["bluegreen.dev/restart"] = obj.metadata.resourceVersion
return obj
