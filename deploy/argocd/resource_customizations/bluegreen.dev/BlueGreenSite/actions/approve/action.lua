-- Lets the candidate go live: this one and no other, also if it is replaced in this moment.
local status = obj.status or {}
local candidate = status.candidate
if candidate == nil then
  error("nothing waits for an approval", 0)
end

-- Behind the @ stands what tells this command from every other: a second click before anything changed is the same command.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["bluegreen.dev/approve"] = candidate.revision .. "/" .. candidate.attempt .. "@" .. obj.metadata.resourceVersion
return obj
