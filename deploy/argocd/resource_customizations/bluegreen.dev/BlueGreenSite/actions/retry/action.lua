-- Forgets that the wanted revision was rejected, and tries it again.
local status = obj.status or {}
local retries = {}
if status.rollout ~= nil and status.rollout.ledger ~= nil then
  retries = status.rollout.ledger.retries or {}
end
if status.rejected == nil then
  error("nothing was rejected", 0)
end
local revision = status.rejected.revision
local about = revision .. "/" .. (1 + (retries[revision] or 0))

-- Behind the @ stands what tells this command from every other: a second click before anything changed is the same command.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["bluegreen.dev/retry"] = about .. "@" .. obj.metadata.resourceVersion
return obj
