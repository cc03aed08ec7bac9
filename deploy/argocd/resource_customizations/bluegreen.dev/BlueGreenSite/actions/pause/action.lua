-- Starts nothing more and lets no deadline pass.
local status = obj.status or {}
local retries = {}
if status.rollout ~= nil and status.rollout.ledger ~= nil then
  retries = status.rollout.ledger.retries or {}
end
local about = nil
if status.candidate ~= nil then
  about = status.candidate.revision .. "/" .. status.candidate.attempt
elseif status.live ~= nil and status.live.revision ~= nil then
  local revision = status.live.revision
  about = revision .. "/" .. (1 + (retries[revision] or 0))
else
  error("there is no revision to be about", 0)
end

-- Behind the @ stands what tells this command from every other: a second click before anything changed is the same command.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["bluegreen.dev/pause"] = about .. "@" .. obj.metadata.resourceVersion
return obj
