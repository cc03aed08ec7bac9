-- A site's health, from the conditions that kstatus knows too: Ready, Reconciling, Stalled; and Available, whether it serves.
-- A site that is being deleted is judged by Argo CD itself.
local hs = {}

local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration == nil then
  hs.status = "Progressing"
  hs.message = "waiting for the operator to look at the site"
  return hs
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  hs.status = "Progressing"
  hs.message = "waiting for the operator to look at what was changed"
  return hs
end

local known = {}
for _, condition in ipairs(status.conditions) do
  known[condition.type] = condition
end
local function is(kind, value)
  return known[kind] ~= nil and known[kind].status == value
end
local function said(kind)
  return known[kind].message or known[kind].reason or ""
end

-- It goes on only when somebody does something: rejected, refused, not permitted.
if is("Stalled", "True") then
  hs.status = "Degraded"
  hs.message = said("Stalled")
  return hs
end

if is("Reconciling", "True") then
  local reason = known["Reconciling"].reason
  if reason == "AwaitingApproval" or reason == "Paused" then
    hs.status = "Suspended"
  else
    hs.status = "Progressing"
  end
  hs.message = said("Reconciling")
  return hs
end

if is("Ready", "True") then
  -- What was asked for is live, and has died since.
  if is("Available", "False") then
    hs.status = "Degraded"
    hs.message = said("Available")
    return hs
  end
  hs.status = "Healthy"
  hs.message = said("Ready")
  return hs
end

hs.status = "Progressing"
hs.message = "waiting for the operator"
if known["Ready"] ~= nil then
  hs.message = said("Ready")
end
return hs
