-- Which commands make sense now. What each is about is in its own script.
local status = obj.status or {}
local ledger = {}
if status.rollout ~= nil and status.rollout.ledger ~= nil then
  ledger = status.rollout.ledger
end
local candidate = status.candidate
local live = nil
if status.live ~= nil then
  live = status.live.revision
end

-- Where a rollback may go: what was live, passed its watch, and was not rejected since.
local back = false
for _, revision in ipairs(ledger.cleared or {}) do
  if revision ~= live and (ledger.rejected or {})[revision] == nil then
    back = true
  end
end

local before = {Preparing = true, Starting = true, Verifying = true, AwaitingApproval = true}
local manual = obj.spec.strategy ~= nil and obj.spec.strategy.promotion == "Manual"
local awaited = manual and candidate ~= nil and before[status.phase] == true
local approval = ledger.approval or {}
local approved = awaited and approval.revision == candidate.revision and approval.number == candidate.attempt
local paused = ledger.paused ~= nil
local something = candidate ~= nil or live ~= nil
local rejected = status.rejected ~= nil and status.rejected.revision ~= live

local actions = {}
actions["approve"] = {["disabled"] = not awaited or approved, ["displayName"] = "Approve", ["iconClass"] = "fa fa-fw fa-check"}
actions["abort"] = {["disabled"] = candidate == nil, ["displayName"] = "Abort", ["iconClass"] = "fa fa-fw fa-ban"}
actions["retry"] = {["disabled"] = not rejected, ["displayName"] = "Retry", ["iconClass"] = "fa fa-fw fa-redo"}
actions["rollback"] = {["disabled"] = live == nil or not back, ["displayName"] = "Roll back", ["iconClass"] = "fa fa-fw fa-undo",
  ["params"] = {{["name"] = "to"}}}
actions["pause"] = {["disabled"] = paused or not something, ["displayName"] = "Pause", ["iconClass"] = "fa fa-fw fa-pause"}
actions["resume"] = {["disabled"] = not paused or not something, ["displayName"] = "Resume", ["iconClass"] = "fa fa-fw fa-play"}
actions["restart"] = {["disabled"] = live == nil, ["displayName"] = "Restart", ["iconClass"] = "fa fa-fw fa-sync"}
return actions
