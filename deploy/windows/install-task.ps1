<#
.SYNOPSIS
Starts the terminal and the worker at the logon of a user: the way that suits a GUI terminal.
.DESCRIPTION
The terminal is a desktop program. In the session of a user who is logged on it has a desktop, can
show its dialogs to a person, and keeps its data in that user's profile. Let the host log this user
on at boot (Sysinternals Autologon keeps the password encrypted), and lock the screen afterwards;
leaving a remote desktop session is fine, logging off is not: it ends both.

Run as that user, in PowerShell. Nothing is stored but two tasks.
.EXAMPLE
.\install-task.ps1 -Terminal main -Folder C:\mt5relay\main
#>
[CmdletBinding()]
param(
    [ValidatePattern('^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$')][string]$Terminal = 'main',
    [string]$Folder = "C:\mt5relay\$Terminal",
    [string]$Worker = 'C:\mt5relay\venv\Scripts\mt5relay-worker.exe',
    [string]$TerminalPath = "$Folder\terminal\terminal64.exe"
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($file in @($Worker, $TerminalPath, "$Folder\.env", "$PSScriptRoot\start-worker.ps1")) {
    if (-not (Test-Path -LiteralPath $file)) { throw "missing: $file" }
}
$user = [System.Security.Principal.WindowsIdentity]::GetCurrent().Name
$shell = Join-Path $PSHOME 'powershell.exe'
$arguments = '-NoProfile -NonInteractive -WindowStyle Hidden -ExecutionPolicy RemoteSigned ' +
    "-File `"$PSScriptRoot\start-worker.ps1`" -Folder `"$Folder`" -Worker `"$Worker`""

# Both with the user's own rights: a terminal and a worker of different rights can't meet.
$principal = New-ScheduledTaskPrincipal -UserId $user -LogonType Interactive -RunLevel Limited
$settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries `
    -ExecutionTimeLimit ([TimeSpan]::Zero) -MultipleInstances IgnoreNew -StartWhenAvailable `
    -RestartCount 999 -RestartInterval (New-TimeSpan -Minutes 1)

$first = New-ScheduledTaskTrigger -AtLogOn -User $user
$open = New-ScheduledTaskAction -Execute $TerminalPath -WorkingDirectory (Split-Path $TerminalPath)
Register-ScheduledTask -TaskName "mt5relay terminal $Terminal" -Action $open -Trigger $first `
    -Principal $principal -Settings $settings -Force | Out-Null

$later = New-ScheduledTaskTrigger -AtLogOn -User $user
$later.Delay = 'PT30S'  # until the terminal is up; the worker waits for it in any case
$work = New-ScheduledTaskAction -Execute $shell -Argument $arguments -WorkingDirectory $Folder
Register-ScheduledTask -TaskName "mt5relay worker $Terminal" -Action $work -Trigger $later `
    -Principal $principal -Settings $settings -Force | Out-Null

Write-Output "Installed for $user. Start them now, in this order:"
Write-Output "Start-ScheduledTask -TaskName 'mt5relay terminal $Terminal'"
Write-Output "Start-ScheduledTask -TaskName 'mt5relay worker $Terminal'"
