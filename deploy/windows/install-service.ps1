<#
.SYNOPSIS
Runs the worker as a Windows service, by way of NSSM. For a host on which nobody is logged on.
.DESCRIPTION
Read this first. A service lives in session 0, which has no desktop that a person can see. A
terminal started from there may wait for ever behind a dialog (an update, a new certificate, a first
login) that nobody can close, and MetaQuotes does not support it. Prefer install-task.ps1; use a
service for a worker with MT5_TERMINAL=simulated, or where policy forbids automatic logon and you
have seen your broker's terminal work this way.

The service must run as the user who installed and logged in the terminal: its data folder is in
that user's profile, and as LocalSystem the worker would find an empty one. Needs nssm.exe, which is
not part of this project, and an elevated PowerShell.
.EXAMPLE
.\install-service.ps1 -Terminal main -Nssm C:\tools\nssm.exe -Credential (Get-Credential .\mt5)
#>
[CmdletBinding()]
param(
    [ValidatePattern('^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$')][string]$Terminal = 'main',
    [string]$Folder = "C:\mt5relay\$Terminal",
    [string]$Worker = 'C:\mt5relay\venv\Scripts\mt5relay-worker.exe',
    [Parameter(Mandatory = $true)][string]$Nssm,
    [Parameter(Mandatory = $true)][System.Management.Automation.PSCredential]$Credential
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($file in @($Worker, $Nssm, "$Folder\.env")) {
    if (-not (Test-Path -LiteralPath $file)) { throw "missing: $file" }
}
$service = "mt5relay-worker-$Terminal"

function Invoke-Nssm {
    & $Nssm @args | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "nssm $($args[0]) $($args[1]) $($args[2]): $LASTEXITCODE" }
}

Invoke-Nssm install $service $Worker run
Invoke-Nssm set $service AppDirectory $Folder
Invoke-Nssm set $service AppStdout "$Folder\worker.log"
Invoke-Nssm set $service AppStderr "$Folder\worker.log"
Invoke-Nssm set $service AppRotateFiles 1
Invoke-Nssm set $service AppRotateBytes 20971520
# Ctrl-C first, and time to finish the visit: above MT5_SHUTDOWN_GRACE.
Invoke-Nssm set $service AppStopMethodConsole 45000
Invoke-Nssm set $service AppExit Default Restart
Invoke-Nssm set $service AppExit 0 Exit
Invoke-Nssm set $service AppExit 78 Exit
Invoke-Nssm set $service AppRestartDelay 2000
Invoke-Nssm set $service Start SERVICE_DELAYED_AUTO_START

# Not by nssm: the password would stand in its command line, which others can read.
$change = @{
    StartName     = $Credential.UserName
    StartPassword = $Credential.GetNetworkCredential().Password
}
$found = Get-CimInstance -ClassName Win32_Service -Filter "Name='$service'"
$answer = Invoke-CimMethod -InputObject $found -MethodName Change -Arguments $change
if ($answer.ReturnValue -ne 0) {
    throw "the user was refused ($($answer.ReturnValue)): may it log on as a service?"
}
Write-Output "Installed $service as $($Credential.UserName). Start it: Start-Service $service"
