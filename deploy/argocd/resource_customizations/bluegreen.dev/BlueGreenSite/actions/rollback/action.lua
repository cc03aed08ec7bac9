-- Leaves the live revision, which is thereby rejected, and goes back to one that was live before: the one that the parameter `to` begins, or
-- the warm one, or the only one.
local status = obj.status or {}
local ledger = {}
if status.rollout ~= nil and status.rollout.ledger ~= nil then
  ledger = status.rollout.ledger
end
local live = nil
if status.live ~= nil then
  live = status.live.revision
end
if live == nil then
  error("nothing is live", 0)
end

local wanted = ""
if actionParams ~= nil and actionParams["to"] ~= nil then
  wanted = actionParams["to"]
end
local ways = {}
local standby = nil
for _, revision in ipairs(ledger.cleared or {}) do
  -- There is no library of strings here; of hexadecimal digits "g" is the next after the last.
  local begins = wanted <= revision and revision < wanted .. "g"
  if revision ~= live and (ledger.rejected or {})[revision] == nil and begins then
    table.insert(ways, revision)
    if status.standby ~= nil and status.standby.revision == revision then
      standby = revision
    end
  end
end

local to = ways[1]
if to == nil then
  error("there is nowhere to go back to: no such revision was live and passed its watch", 0)
end
if ways[2] ~= nil then
  if wanted ~= "" or standby == nil then
    error("say which, with the parameter to: " .. table.concat(ways, ", "), 0)
  end
  to = standby
end
local about = live .. "/" .. (1 + ((ledger.retries or {})[live] or 0))

-- Behind the @ stands what tells this command from every other: a second click before anything changed is the same command.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["bluegreen.dev/rollback"] = about .. " to " .. to .. "@" .. obj.metadata.resourceVersion
return obj
