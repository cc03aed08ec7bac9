-- Gives up the candidate, or leaves it again while it is watched.
local status = obj.status or {}
local candidate = status.candidate
if candidate == nil then
  error("nothing is being rolled out", 0)
end

-- Behind the @ stands what tells this command from every other: a second click before anything changed is the same command.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["bluegreen.dev/abort"] = candidate.revision .. "/" .. candidate.attempt .. "@" .. obj.metadata.resourceVersion
return obj
